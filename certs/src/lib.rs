//! The federation's public key infrastructure: root → issuing authority → leaf certificates, and the TLS configurations
//! that let in who belongs and nobody else.
//!
//! Identity is one URI in the certificate, `tributary://<federation>/<role>/<name>`. No key is ever part of the product.

pub mod authority;
mod bundle;
pub mod credentials;
mod describe;
mod endpoint;
pub mod enrolment;
mod error;
mod expiry;
mod files;
mod ledger;
pub mod peer;
pub mod revocation;
mod serial;
pub mod tls;

pub use authority::Authority;
pub use credentials::Credentials;
pub use describe::{Description, describe};
pub use endpoint::EndpointSecret;
pub use error::Error;
pub use revocation::{RevocationFile, Revocations};
pub use serial::Serial;
pub use tls::random_key;
