//! The machine itself: its state, `step`, and what follows from the state alone. The transitions stand in `opening`,
//! `peers`, `closing`, `evaluation` and `ending`.

use std::collections::{BTreeMap, VecDeque};

use tributary_common::id::{Attempt, ClientId, Round, Ticket, Version};
use tributary_common::time::Time;

use super::evaluation::Measuring;
use super::opening::Waiting;
use super::phase::Phase;
use super::settled::Settled;
use super::{Effect, Event, Reason, Roster, Row, Settings};

/// What waits for a row to be durable.
#[derive(Clone, Debug)]
pub(super) enum After {
    Abort,
    Accept(ClientId),
    Close,
    Commit,
    Nothing,
    Open,
}

/// The round machine. The contract of its driver stands above [`Machine::step`].
#[derive(Clone, Debug)]
pub struct Machine {
    pub(super) settings: Settings,
    pub(super) roster: Roster,
    pub(super) phase: Phase,
    pub(super) version: Version,
    pub(super) round: Round,
    pub(super) attempt: Attempt,
    /// Attempts at this round that this process saw fail; a restart is a fresh start.
    pub(super) n_failed: u32,
    /// Oldest version first.
    pub(super) measuring: Vec<Measuring>,
    pub(super) target_reached: bool,
    pub(super) stop_asked: bool,
    /// Rows that are not durable yet, oldest first.
    pub(super) waiting: VecDeque<(u64, After)>,
    pub(super) next_sequence: u64,
    pub(super) retry_at: Option<Time>,
    /// Whether a round opens for a quorum: before the first one, all of `wait_for` must be here.
    pub(super) has_opened: bool,
    /// After a restart, when those that have not come back by then are not waited for any more.
    pub(super) patience_until: Option<Time>,
    pub(super) told_waiting: Option<Waiting>,
    pub(super) settled: Option<Settled>,
    /// First attempts of rounds that were played before a rollback: whoever holds an update of one that was taken back must
    /// not give it to the round of the same number.
    pub(super) first_attempts: BTreeMap<Round, Attempt>,
}

impl Machine {
    /// A machine before its first round. `row` is the run's first; the shell gets it as the first effect.
    pub fn new(settings: Settings, roster: Roster, row: Row, effects: &mut Vec<Effect>) -> Self {
        let mut machine = Self::at(settings, roster, Version(0), 0);
        machine.append(row, After::Nothing, effects);
        machine
    }

    /// A machine after the commit of `version`, whose next row has the number `next_sequence`.
    pub(super) const fn at(settings: Settings, roster: Roster, version: Version, next_sequence: u64) -> Self {
        Self {
            settings,
            roster,
            phase: Phase::Idle,
            version,
            round: Round(version.0 + 1),
            attempt: Attempt(0),
            n_failed: 0,
            measuring: Vec::new(),
            target_reached: false,
            stop_asked: false,
            waiting: VecDeque::new(),
            next_sequence,
            retry_at: None,
            has_opened: false,
            patience_until: None,
            told_waiting: None,
            settled: None,
            first_attempts: BTreeMap::new(),
        }
    }

    /// Where the machine is.
    #[must_use]
    pub const fn phase(&self) -> &Phase {
        &self.phase
    }

    /// The last committed version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Who is here.
    #[must_use]
    pub const fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Why the run ended, once it has.
    #[must_use]
    pub const fn done(&self) -> Option<&Reason> {
        match &self.phase {
            Phase::Done { reason } => Some(reason),
            Phase::Collecting(_) | Phase::Closing(_) | Phase::Committing(_) | Phase::Idle => None,
        }
    }

    /// The ticket whose updates are accepted now.
    #[must_use]
    pub const fn open_ticket(&self) -> Option<Ticket> {
        match &self.phase {
            Phase::Collecting(round) if round.is_open => Some(round.ticket),
            _ => None,
        }
    }

    /// The time at which `Wake` is wanted; later than the time of the last step.
    #[must_use]
    pub fn wake_at(&self) -> Option<Time> {
        let round = match &self.phase {
            // A round whose deadline is over waits for rows only, not for time.
            Phase::Collecting(round) if round.is_open && round.n_open > 0 => Some(round.deadline),
            _ => None,
        };
        // A measuring whose answers are all here waits for an earlier one, not for time.
        let measuring = self.measuring.iter().filter(|measuring| !measuring.is_over());
        let measuring = measuring.map(|measuring| measuring.deadline).min();
        let patience = self.patience_until.filter(|_| matches!(self.phase, Phase::Idle));
        round.into_iter().chain(measuring).chain(self.retry_at).chain(patience).min()
    }

    /// Takes one event at `now` and appends what is to be done to `effects`. Never fails, never blocks, does no I/O.
    ///
    /// The contract of whoever drives the machine:
    /// - Time does not go backwards. Effects are performed in order, before the next event is given.
    /// - [`Effect::Append`] is answered by [`Event::Appended`] once the row is durable, in the order of the rows, or by
    ///   [`Event::StoreFailed`]. [`Effect::Close`] is answered by [`Event::Closed`] once every [`Effect::Fold`] of the
    ///   round is done, [`Effect::Commit`] by [`Event::Committed`] once the version is built and stored.
    /// - [`Event::TargetReached`] comes at the latest between a [`Report::Finished`](super::Report::Finished) and the
    ///   `Appended` of the row behind it: then no offer of the next round has gone out.
    /// - After every step the one timer is set to [`Machine::wake_at`]; when it rings, [`Event::Wake`] is given.
    /// - Events that stem from peers ([`Event::Joined`] to [`Event::Staged`]) may be stale, repeated or impossible. An
    ///   evaluation's results are merged only if [`Machine::standing`] is open right before [`Event::Evaluated`].
    /// - After [`Effect::Stop`] the machine says goodbye to those who still come, and nothing else.
    /// - A resumed machine is given [`Event::Wake`] once, after the effects of [`Machine::resume`] and
    ///   [`Machine::tell_again`] were performed.
    pub fn step(&mut self, now: Time, event: Event, effects: &mut Vec<Effect>) {
        if let Phase::Done { reason } = &self.phase {
            let reason = reason.clone();
            return self.goodbye(event, reason, effects);
        }
        match event {
            Event::Appended { sequence } => self.appended(now, sequence, effects),
            Event::Closed { ticket } => self.closed(ticket),
            Event::Committed { version, digest } => self.committed(version, digest, effects),
            Event::Evaluated { client, ticket } => self.evaluated(&client, ticket),
            Event::Joined { client, role, holding, weight } => {
                self.roster.join(&client, role, weight);
                self.joined(now, client, role, holding, effects);
            }
            Event::Left { client } => self.left(now, &client),
            Event::Postponed { client, ticket, reason } => self.postponed(now, &client, ticket, reason),
            Event::Refused { client, ticket, reason } => self.refused(now, client, ticket, reason, effects),
            Event::Revoked { client } => self.revoked(now, &client, effects),
            Event::Staged { client, ticket, weight, digest } => {
                self.staged(now, client, ticket, weight, digest, effects);
            }
            Event::StopAsked => self.stop_asked = true,
            Event::StoreFailed { reason } => return self.stop(Reason::StoreFailed { reason }, effects),
            Event::TargetReached => self.target_reached = true,
            Event::TaskAccepted { client, ticket } | Event::Progress { client, ticket } => {
                self.works(now, &client, ticket);
            }
            Event::TaskDeclined { client, ticket, reason } => self.declined(now, &client, ticket, reason),
            Event::Wake => self.wake(now, effects),
        }
        // A version whose row is on its way is committed whatever happens now: its round is told before the stop.
        let is_committing = self.waiting.iter().any(|(_, after)| matches!(after, After::Commit));
        if self.stop_asked && !is_committing {
            return self.stop(Reason::Suspended, effects);
        }
        self.advance(now, effects);
    }

    /// Everything that follows from the state alone.
    fn advance(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.retry_at = self.retry_at.filter(|at| *at > now);
        if self.patience_until.is_some_and(|until| until <= now) {
            self.patience_until = None;
            self.has_opened = true;
        }
        self.report_measured(effects);
        self.close_if_complete(effects);
        self.commit_if_free(effects);
        if matches!(self.phase, Phase::Idle) && self.waiting.is_empty() {
            self.open_next(now, effects);
        }
    }

    pub(super) fn first_attempt(&self, round: Round) -> Attempt {
        self.first_attempts.get(&round).copied().unwrap_or_default()
    }

    pub(super) fn append(&mut self, row: Row, after: After, effects: &mut Vec<Effect>) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.waiting.push_back((sequence, after));
        effects.push(Effect::Append { sequence, row });
    }

    fn appended(&mut self, now: Time, sequence: u64, effects: &mut Vec<Effect>) {
        assert!(sequence < self.next_sequence, "only rows that were given out become durable");
        while let Some((_, after)) = self.waiting.pop_front_if(|(waiting, _)| *waiting <= sequence) {
            match after {
                After::Abort => self.aborted(now, effects),
                After::Accept(client) => self.fold(now, &client, effects),
                After::Close => self.begin_closing(effects),
                After::Commit => self.publish(now, effects),
                After::Nothing => {}
                After::Open => self.offer_all(now, effects),
            }
        }
    }
}
