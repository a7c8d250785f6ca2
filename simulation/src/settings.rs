//! `[sim]`: the network and the devices that are simulated; ideal where nothing is said.

use std::time::Duration;

use tributary_common::config::{Error, Item, Table};

/// The network and the devices.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Settings {
    /// One way, for every message and the first byte of a transfer.
    pub latency: Duration,
    /// Bytes a second of every client's own link; none: infinite.
    pub bandwidth: Option<f64>,
    /// Share of packets that are lost and sent again, from 0 to 0.9: it stretches transfers.
    pub loss: f64,
    /// Probability that a client vanishes for a round when work is offered to it, from 0 to 1.
    pub drop_out: f64,
    /// How long a client's device takes for one step.
    pub per_step: Duration,
}

impl Settings {
    /// Reads `[sim]`.
    ///
    /// # Errors
    /// Unknown keys or impossible values.
    pub fn parse(mut table: Table) -> Result<Self, Error> {
        let mut share = |key, max| table.optional(key).map_or(Ok(0.0), |item: Item| item.number_in(0.0..=max));
        let (loss, drop_out) = (share("loss", 0.9)?, share("drop_out", 1.0)?);
        let mut seconds = |key| {
            let number = table.optional(key).map_or(Ok(0.0), |item: Item| item.number_in(0.0..=86_400.0));
            number.map(Duration::from_secs_f64)
        };
        let (latency, per_step) = (seconds("latency")?, seconds("seconds_per_step")?);
        let bandwidth = table.optional("bandwidth").map(|item| item.number_in(1.0..=1e15)).transpose()?;
        table.finish()?;
        Ok(Self { latency, bandwidth, loss, drop_out, per_step })
    }

    /// Whether nothing takes any time, so that virtual durations say nothing.
    #[must_use]
    pub fn is_ideal(&self) -> bool {
        self.latency.is_zero() && self.bandwidth.is_none() && self.per_step.is_zero()
    }
}
