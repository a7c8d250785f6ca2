//! The story of a run as its journal tells it: one line for every attempt at a round.

use serde::Serialize;
use tributary_common::Digest;
use tributary_common::id::{RunId, Ticket, Version};
use tributary_common::time::Time;

use super::journal::{Entry, Found};
use crate::round::Row;

/// The story of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct History {
    /// The run.
    #[serde(serialize_with = "as_text")]
    pub run: RunId,
    /// Digest of its configuration.
    pub config: Digest,
    /// The version that it stands on.
    pub version: Version,
    /// Its digest.
    pub model: Digest,
    /// Rows in the journal.
    pub rows: u64,
    /// Processes that wrote them.
    pub processes: u64,
    /// Seconds that the run was served.
    pub seconds: f64,
    /// In the order in which they happened.
    pub chapters: Vec<Chapter>,
}

/// An attempt at a round, or a rollback.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chapter {
    /// The round's, unless it is a rollback.
    #[serde(flatten)]
    pub part: Option<Part>,
    /// Milliseconds since 1970 when it began; 0 where there is no such time.
    pub wall_ms: u64,
    /// From its first row to its last, in seconds of the run's own clock.
    pub seconds: f64,
    /// How it ended.
    pub outcome: Outcome,
    #[serde(skip)]
    began: Time,
}

/// What was asked for and what came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// The round.
    pub round: u64,
    /// The attempt at it.
    pub attempt: u32,
    /// Clients that were asked.
    pub cohort: usize,
    /// Updates that were accepted.
    pub accepted: usize,
    /// Sum of their weights.
    pub weight: u64,
}

/// How a chapter ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Without a version; what was missing.
    Aborted(String),
    /// No further update counts; its version is not there yet.
    Closing,
    /// With a version.
    Committed {
        /// The version.
        version: Version,
        /// Its digest.
        model: Digest,
    },
    /// Not yet: updates still count.
    Open,
    /// It was open when somebody went back.
    TakenBack,
    /// Somebody went back to this version.
    ToVersion(Version),
}

fn as_text<S: serde::Serializer>(run: &RunId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(run)
}

impl History {
    /// Tells what a journal holds; nothing of one without a beginning.
    #[must_use]
    pub fn of(found: &Found) -> Option<Self> {
        let Row::RunCreated { run, config, .. } = found.entries.first()?.body.recorded.row else { return None };
        let last = *found.versions().last()?;
        let mut chapters = Vec::new();
        for entry in &found.entries {
            tell(entry, &mut chapters);
        }
        Some(Self {
            run,
            config,
            version: last.version,
            model: last.model,
            rows: found.entries.len() as u64,
            processes: found.entries.last().map_or(0, |entry| entry.epoch + 1),
            seconds: found.at.seconds(),
            chapters,
        })
    }
}

fn tell(entry: &Entry, chapters: &mut Vec<Chapter>) {
    let (at, wall_ms) = (entry.body.recorded.at, entry.body.wall_ms);
    let begin = |part, outcome| Chapter { part, wall_ms, seconds: 0.0, outcome, began: at };
    let outcome = match &entry.body.recorded.row {
        Row::RunCreated { .. } => return,
        Row::RoundOpened { ticket: Ticket::Train { round, attempt }, cohort, .. } => {
            let part = Part { round: round.0, attempt: attempt.0, cohort: cohort.len(), accepted: 0, weight: 0 };
            return chapters.push(begin(Some(part), Outcome::Open));
        }
        Row::RolledBack { version } => {
            if let Some(open) = chapters.last_mut().filter(|chapter| !chapter.outcome.is_final()) {
                open.end(at, Outcome::TakenBack);
            }
            return chapters.push(begin(None, Outcome::ToVersion(*version)));
        }
        Row::UpdateAccepted { weight, .. } => {
            if let Some(part) = chapters.last_mut().and_then(|chapter| chapter.part.as_mut()) {
                part.accepted += 1;
                part.weight += weight;
            }
            Outcome::Open
        }
        Row::RoundAborted { missing, .. } => Outcome::Aborted(missing.clone()),
        Row::RoundClosing { .. } => Outcome::Closing,
        Row::ModelCommitted { version, digest, .. } => Outcome::Committed { version: *version, model: *digest },
        Row::RoundOpened { ticket: Ticket::Evaluate { .. }, .. } => return,
    };
    if let Some(chapter) = chapters.last_mut() {
        chapter.end(at, outcome);
    }
}

impl Outcome {
    const fn is_final(&self) -> bool {
        match self {
            Self::Closing | Self::Open => false,
            Self::Aborted(_) | Self::Committed { .. } | Self::TakenBack | Self::ToVersion(_) => true,
        }
    }
}

impl Chapter {
    fn end(&mut self, at: Time, outcome: Outcome) {
        self.seconds = at.since(self.began).as_secs_f64();
        self.outcome = outcome;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round::Recorded;
    use crate::store::journal::{Body, Place, Retained};
    use tributary_common::id::{Attempt, ClientId, Round};

    #[test]
    fn every_attempt_has_its_line_and_its_end() {
        let ticket = |round, attempt| Ticket::Train { round: Round(round), attempt: Attempt(attempt) };
        let opened = |t| Row::RoundOpened {
            ticket: t,
            cohort: (0..3).map(|i| ClientId::simulated(i, 3)).collect(),
            weight_max: None,
        };
        let accepted = |ticket| Row::UpdateAccepted {
            ticket,
            client: ClientId::simulated(0, 3),
            weight: 7,
            digest: Digest([4; 32]),
        };
        let rows = [
            Row::RunCreated { run: RunId([0; 16]), config: Digest([1; 32]), model: Digest([2; 32]) },
            opened(ticket(1, 0)),
            Row::RoundAborted { ticket: ticket(1, 0), missing: "all".to_owned() },
            opened(ticket(1, 1)),
            accepted(ticket(1, 1)),
            Row::RoundClosing { ticket: ticket(1, 1) },
            Row::ModelCommitted { ticket: ticket(1, 1), version: Version(1), digest: Digest([3; 32]), weight: 7 },
            opened(ticket(2, 0)),
            Row::RolledBack { version: Version(0) },
            opened(ticket(1, 2)),
            accepted(ticket(1, 2)),
        ];
        let entry = |(index, row): (usize, Row)| {
            let at = Time(1_000_000_000 * index as u64);
            let update = matches!(row, Row::UpdateAccepted { .. }).then_some(Place { bytes: 8, offset: Some(0) });
            let retained = Some(Retained { optimizer: Digest([5; 32]), kept_from: None });
            let body = Body { recorded: Recorded { at, row }, wall_ms: 0, update, retained };
            Entry { sequence: index as u64, epoch: index as u64 / 6, body, hash: Digest([0; 32]) }
        };
        let entries: Vec<Entry> = rows.into_iter().enumerate().map(entry).collect();
        let history = History::of(&Found { entries, at: Time(20_000_000_000), updates: Vec::new() }).unwrap();
        assert_eq!((history.version, history.rows, history.processes), (Version(0), 11, 2));
        let told = history.chapters.iter().map(|chapter| {
            let part = chapter.part.as_ref().map(|part| (part.round, part.attempt, part.accepted, part.weight));
            (part, chapter.seconds as u64, chapter.outcome.clone())
        });
        let expected = [
            (Some((1, 0, 0, 0)), 1, Outcome::Aborted("all".to_owned())),
            (Some((1, 1, 1, 7)), 3, Outcome::Committed { version: Version(1), model: Digest([3; 32]) }),
            (Some((2, 0, 0, 0)), 1, Outcome::TakenBack),
            (None, 0, Outcome::ToVersion(Version(0))),
            (Some((1, 2, 1, 7)), 1, Outcome::Open),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }
}
