//! Endpoints, their transport parameters, and the keys by which a restarted coordinator is recognised.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hkdf;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::crypto::{CryptoError, HandshakeTokenKey, HmacKey};
use quinn::{ClientConfig, Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;

use super::{Error, System};

/// Keep-alive packets are sent after this much silence, unless a client says otherwise.
pub const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// A connection ends after this much silence, unless a client says otherwise.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Streams that a peer may have open at once: one for control, the others for tensors.
const STREAMS_MAX: u32 = 8;

/// Bytes in flight each way before a peer is a member.
const STRANGER_BYTES: u32 = 16 * 1024;

/// A connection of somebody who is not a member ends after this much silence.
const STRANGER_IDLE_MS: u32 = 10_000;

/// How much may be under way without an acknowledgement; this is what a connection may cost in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Bytes in flight to this end on one stream, before admission 64 KiB.
    pub stream_bytes: u32,
    /// Bytes in flight to this end on one connection.
    pub connection_bytes: u32,
    /// Bytes in flight from this end on one connection.
    pub send_bytes: u32,
}

impl Default for Windows {
    /// 1 MiB a stream, 2 MiB a connection.
    fn default() -> Self {
        Self { stream_bytes: 1 << 20, connection_bytes: 2 << 20, send_bytes: 2 << 20 }
    }
}

/// Codes with which this end closes connections.
pub mod close_code {
    use quinn::VarInt;

    /// All is said.
    pub const DONE: VarInt = VarInt::from_u32(0);
    /// The coordinator stops for a while.
    pub const SUSPENDED: VarInt = VarInt::from_u32(1);
    /// A newer connection of the same identity came.
    pub const REPLACED: VarInt = VarInt::from_u32(2);
    /// The peer broke the protocol.
    pub const PROTOCOL: VarInt = VarInt::from_u32(3);
    /// The peer's identity does not allow what it asked for.
    pub const NOT_ALLOWED: VarInt = VarInt::from_u32(4);
    /// Too many connections.
    pub const BUSY: VarInt = VarInt::from_u32(5);
    /// The certificate with which the peer came has ended; with a new one it may come back.
    pub const EXPIRED: VarInt = VarInt::from_u32(6);
}

/// The transport parameters of a port for those who are not members yet: one stream with one short message each way, and
/// no more memory than that needs.
#[must_use]
pub fn stranger_transport() -> TransportConfig {
    let mut config = transport(Windows {
        stream_bytes: STRANGER_BYTES,
        connection_bytes: STRANGER_BYTES,
        send_bytes: STRANGER_BYTES,
    });
    config
        .max_concurrent_bidi_streams(1_u32.into())
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(STRANGER_IDLE_MS))));
    config
}

/// The shortest time between two answers to packets of connections that nobody knows. None, because quinn reads the clock
/// once for all datagrams that it takes from the socket together: any interval, however short, answers one of them and
/// leaves the clients behind the others to their next probes. With one millisecond the last of 500 clients noticed a
/// restarted coordinator after 3 to 10 s, without it after 0.5 s. A stranger gains nothing: packets whose connection id this
/// coordinator did not give out are dropped, and an answer is shorter than what it answers.
const MIN_RESET_INTERVAL: Duration = Duration::ZERO;

/// The transport parameters of both ends.
#[must_use]
pub fn transport(windows: Windows) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::try_from(IDLE_TIMEOUT).expect("a minute fits a variable-length integer")))
        .max_concurrent_bidi_streams(STREAMS_MAX.into())
        .max_concurrent_uni_streams(0_u32.into())
        .stream_receive_window(VarInt::from_u32(windows.stream_bytes))
        .receive_window(VarInt::from_u32(windows.connection_bytes))
        .send_window(windows.send_bytes.into())
        .datagram_receive_buffer_size(None);
    config
}

/// The keys that a coordinator keeps over a restart. With them it tells a client of a connection that it forgot, in a way
/// that only it can (stateless reset, RFC 9000 section 10.3); without them the client waits for its idle timeout.
#[derive(Clone)]
pub struct EndpointKeys {
    reset: [u8; 32],
    tokens: [u8; 32],
    ids: u64,
}

impl std::fmt::Debug for EndpointKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EndpointKeys")
    }
}

impl EndpointKeys {
    /// The keys that follow from a secret.
    #[must_use]
    pub fn derive(secret: &[u8; 32]) -> Self {
        let ids = blake3::derive_key("tributary 2026-11 connection ids", secret);
        let ids = u64::from_le_bytes(ids[..8].try_into().expect("eight of 32 bytes"));
        let reset = blake3::derive_key("tributary 2026-11 stateless reset", secret);
        let tokens = blake3::derive_key("tributary 2026-11 address tokens", secret);
        Self { reset, tokens, ids }
    }

    /// What seals the tokens with which a client proves its address: one that an earlier process gave is as good.
    fn token_key(&self) -> Arc<dyn HandshakeTokenKey> {
        Arc::new(hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&self.tokens))
    }

    /// An endpoint that knows the connections of earlier processes from what strangers make up.
    fn recognising(&self) -> EndpointConfig {
        let mut config = EndpointConfig::new(Arc::new(ResetKey(self.reset)));
        let ids = self.ids;
        config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
        config.min_reset_interval(MIN_RESET_INTERVAL);
        config
    }
}

/// Keyed BLAKE3 in the place of an HMAC: both are pseudo-random functions.
struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(blake3::keyed_hash(&self.0, data).as_bytes());
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        // `Hash` compares in constant time.
        let signature = blake3::Hash::from_slice(signature).map_err(|_| CryptoError)?;
        if blake3::keyed_hash(&self.0, data) == signature { Ok(()) } else { Err(CryptoError) }
    }
}

/// How connections are accepted: by the endpoint that is made with it, or by one that gets it later in the place of what it
/// had ([`Endpoint::set_server_config`]). `keys` are the endpoint's for its whole life.
///
/// # Errors
/// The TLS configuration has no TLS 1.3.
pub fn server_config(
    tls: rustls::ServerConfig,
    transport: TransportConfig,
    keys: &EndpointKeys,
) -> Result<ServerConfig, Error> {
    let crypto = QuicServerConfig::try_from(tls).map_err(|error| Error::Tls(error.to_string()))?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport)).token_key(keys.token_key());
    Ok(config)
}

/// An endpoint of this machine that accepts connections at `address`.
///
/// # Errors
/// As [`System::server_endpoint`].
pub fn server_endpoint(
    address: SocketAddr,
    tls: rustls::ServerConfig,
    transport: TransportConfig,
    keys: &EndpointKeys,
) -> Result<Endpoint, Error> {
    System::Real.server_endpoint(address, tls, transport, keys)
}

/// An endpoint of this machine that opens connections, on any free port of the family of `towards`.
///
/// # Errors
/// As [`System::client_endpoint`].
pub fn client_endpoint(
    towards: SocketAddr,
    tls: rustls::ClientConfig,
    transport: TransportConfig,
) -> Result<Endpoint, Error> {
    System::Real.client_endpoint(towards, tls, transport)
}

impl System {
    /// An endpoint that accepts connections at `address`.
    ///
    /// # Errors
    /// The address is in use or not ours, or the TLS configuration has no TLS 1.3.
    pub fn server_endpoint(
        &self,
        address: SocketAddr,
        tls: rustls::ServerConfig,
        transport: TransportConfig,
        keys: &EndpointKeys,
    ) -> Result<Endpoint, Error> {
        let config = server_config(tls, transport, keys)?;
        let bound = self.endpoint(address, keys.recognising(), Some(config));
        bound.map_err(|source| Error::Socket { address, source })
    }

    /// An endpoint that opens connections, on any free port of the family of `towards`.
    ///
    /// # Errors
    /// No socket, or the TLS configuration has no TLS 1.3.
    pub fn client_endpoint(
        &self,
        towards: SocketAddr,
        tls: rustls::ClientConfig,
        transport: TransportConfig,
    ) -> Result<Endpoint, Error> {
        let crypto = QuicClientConfig::try_from(tls).map_err(|error| Error::Tls(error.to_string()))?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        let address: SocketAddr = if towards.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let bound = self.endpoint(address, EndpointConfig::default(), None);
        let mut endpoint = bound.map_err(|source| Error::Socket { address, source })?;
        endpoint.set_default_client_config(config);
        Ok(endpoint)
    }
}

#[cfg(test)]
mod tests {
    use quinn_proto::ConnectionIdGenerator;

    use super::*;

    /// What goes wrong without it: whoever was asked to prove its address just before a restart is refused after it.
    #[test]
    fn a_token_of_an_earlier_process_is_opened_and_another_coordinators_is_not() {
        let process = |secret: u8| EndpointKeys::derive(&[secret; 32]).token_key().aead_from_hkdf(b"random");
        let mut token = b"token".to_vec();
        process(1).seal(&mut token, b"").unwrap();
        assert_eq!(process(1).open(&mut token.clone(), b"").unwrap(), b"token");
        assert!(process(2).open(&mut token, b"").is_err());
    }

    /// What goes wrong without it: of the packets that come together, while a coordinator that was restarted has much to do,
    /// one is answered, and the clients behind the others wait for their next probes.
    #[test]
    fn every_packet_of_an_earlier_process_is_answered_also_in_a_heap_and_no_strangers() {
        const PACKETS: usize = 200;
        const LONGEST: Duration = Duration::from_secs(30);
        let keys = EndpointKeys::derive(&[1; 32]);
        let mut known = HashedConnectionIdGenerator::from_key(keys.ids);
        let mut strange = HashedConnectionIdGenerator::from_key(keys.ids ^ 1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = System::Real.endpoint(([127, 0, 0, 1], 0).into(), keys.recognising(), None).unwrap();
            let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            client.connect(server.local_addr().unwrap()).unwrap();
            // The endpoint has not run yet: all of them are in its socket when it does.
            let mut packet = [0x40; 64];
            for index in 0..2 * PACKETS {
                let id = if index % 2 == 0 { strange.generate_cid() } else { known.generate_cid() };
                packet[1..=id.len()].copy_from_slice(&id);
                client.send(&packet).unwrap();
            }
            client.set_nonblocking(true).unwrap();
            let client = tokio::net::UdpSocket::from_std(client).unwrap();
            let mut answer = [0; 128];
            for n_answers in 0..PACKETS {
                let next = tokio::time::timeout(LONGEST, client.recv(&mut answer)).await;
                let len = next.unwrap_or_else(|_| panic!("{n_answers} of {PACKETS} were answered")).unwrap();
                assert!(len < packet.len(), "an answer is shorter than what it answers");
            }
            assert!(client.try_recv(&mut answer).is_err(), "a stranger was answered");
        });
    }
}
