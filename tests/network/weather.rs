//! What goes wrong, and when: all of it drawn from the seed before anything happens.

use std::time::Duration;

use tributary_common::id::{Round, Seed};
use tributary_common::rng::{self, Purpose, Stream};

use super::network::Link;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    /// A client loses power, and comes back after a while.
    ClientCrash { client: usize, down: Duration },
    /// The coordinator loses power, and comes back after a while.
    CoordinatorCrash { down: Duration },
    /// Nothing gets from the coordinator to a client, or back, or either way.
    Cut { client: usize, down: bool, up: bool, lasts: Duration },
    /// Much more is lost than usual.
    Storm { loss: f64, lasts: Duration },
    /// The coordinator is stopped as an operator stops it, and started again.
    Suspension { down: Duration },
}

impl Trouble {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::ClientCrash { .. } => "client crash",
            Self::CoordinatorCrash { .. } => "coordinator crash",
            Self::Cut { down: true, up: true, .. } => "cut both ways",
            Self::Cut { .. } => "cut one way",
            Self::Storm { .. } => "storm",
            Self::Suspension { .. } => "suspension",
        }
    }
}

/// The conditions of one scenario.
#[derive(Debug)]
pub(crate) struct Weather {
    pub(crate) clients: usize,
    pub(crate) rounds: u64,
    pub(crate) link: Link,
    /// How long a client trains at most.
    pub(crate) training: Duration,
    /// How long an order of the fold or the journal takes at most.
    pub(crate) disk: Duration,
    /// By time since the start.
    pub(crate) troubles: Vec<(Duration, Trouble)>,
}

/// Trouble comes within the first part of a run, so that a run of any length sees it.
const TROUBLED: Duration = Duration::from_secs(12);

fn between(stream: &mut Stream, least: f64, most: f64) -> Duration {
    Duration::from_secs_f64(least + (most - least) * stream.uniform())
}

impl Weather {
    pub(crate) fn draw(seed: u64) -> Self {
        let stream = &mut rng::stream(Seed(seed), Round(0), None, Purpose::Faults);
        let clients = 3 + usize::try_from(stream.below(3)).unwrap();
        let is_rough = |stream: &mut Stream, share| if stream.below(3) == 0 { share * stream.uniform() } else { 0.0 };
        let link = Link {
            loss: is_rough(stream, 0.2),
            duplicated: is_rough(stream, 0.1),
            corrupted: is_rough(stream, 0.02),
            latency: between(stream, 0.000_1, 0.1),
            jitter: if stream.below(2) == 0 { between(stream, 0.0, 0.1) } else { Duration::ZERO },
        };
        let n_troubles = stream.below(6);
        let mut troubles: Vec<_> =
            (0..n_troubles).map(|_| (between(stream, 0.0, TROUBLED.as_secs_f64()), trouble(stream, clients))).collect();
        troubles.sort_by_key(|(at, _)| *at);
        let is_slow = stream.below(2) == 0;
        let (training, disk) = (between(stream, 0.0, 4.0), between(stream, 0.0, if is_slow { 1.0 } else { 0.05 }));
        Self { clients, rounds: 3, link, training, disk, troubles }
    }
}

fn trouble(stream: &mut Stream, clients: usize) -> Trouble {
    let client = usize::try_from(stream.below(clients as u64)).unwrap();
    let down = between(stream, 0.0, 5.0);
    match stream.below(10) {
        0..3 => Trouble::CoordinatorCrash { down },
        3..5 => Trouble::ClientCrash { client, down },
        5..8 => {
            let way = stream.below(3);
            let lasts = between(stream, 0.1, 90.0);
            Trouble::Cut { client, down: way != 0, up: way != 1, lasts }
        }
        8 => Trouble::Storm { loss: 0.3 + 0.6 * stream.uniform(), lasts: between(stream, 0.1, 8.0) },
        _ => Trouble::Suspension { down },
    }
}
