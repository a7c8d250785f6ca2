//! How bad it gets in one run: which faults may strike and how often, drawn from the seed.
//!
//! Every run has its own mixture, from which about half of the faults are absent: faults hide each other, and a run without
//! partitions reaches states that a run with all of them never does (Groce et al., "Swarm Testing", ISSTA 2012).

use std::time::Duration;

use tributary_common::rng::Stream;
use tributary_common::time::Time;

use super::fault::Fault;

/// What a run has to endure.
#[derive(Clone, Debug)]
pub(super) struct Weather {
    /// Of 10,000 occasions each.
    chances: [u64; Fault::ALL.len()],
    /// The mean time between faults that strike by themselves.
    pub(super) strike_every: Duration,
    /// From here on nothing goes wrong any more.
    pub(super) calm_at: Time,
}

impl Weather {
    pub(super) fn draw(stream: &mut Stream) -> Self {
        let mut chances = [0; Fault::ALL.len()];
        for fault in Fault::ALL {
            let strength = stream.below(4);
            let is_luck = matches!(fault, Fault::Landed | Fault::Torn);
            chances[fault as usize] = match strength {
                _ if is_luck => fault.usual(),
                0 | 1 => 0,
                2 => fault.usual(),
                _ => fault.usual() * 3,
            };
        }
        let strike_every = Duration::from_secs(4 + stream.below(60));
        let calm_at = Time::from(Duration::from_secs(30 + stream.below(900)));
        Self { chances, strike_every, calm_at }
    }

    /// How often `fault` strikes, of 10,000 occasions.
    pub(super) fn chance(&self, fault: Fault) -> u64 {
        self.chances[fault as usize]
    }

    /// Those of the faults that strike by themselves which this weather has.
    pub(super) fn strikes(&self) -> Vec<Fault> {
        Fault::STRIKES.into_iter().filter(|fault| self.chance(*fault) > 0).collect()
    }
}
