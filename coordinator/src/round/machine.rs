//! The machine itself: `step` dispatches, the functions below it are one transition each.

use std::collections::VecDeque;

use tributary_common::Digest;
use tributary_common::id::{Attempt, ClientId, Round, Slot as SlotId, Ticket, Version};
use tributary_common::identity::Role;
use tributary_common::time::Time;

use super::effect::{Effect, Fate, Reason, Report};
use super::evaluation::Measuring;
use super::phase::{Collecting, Phase};
use super::settings::{ATTEMPTS_MAX, RETRY_AFTER, WEIGHT_MAX, WEIGHT_SUM_MAX};
use super::slot::{Loss, Place, Slot};
use super::{Event, Roster, Row, Settings};

/// What waits for a row to be durable.
#[derive(Clone, Debug)]
enum After {
    Abort,
    Accept(ClientId),
    Close,
    Commit,
    Nothing,
    Open,
}

/// The round machine.
///
/// There are four kinds of calls. [`Machine::step`] takes an event and appends effects; the shell performs them in order,
/// before the next event, and answers those that ask for an answer (`Append`, `Close`, `Commit`). [`Machine::wake_at`]
/// is the one timer: when its time has come the shell sends `Wake`. Looking ([`Machine::phase`], [`Machine::version`], …)
/// changes nothing. [`Machine::assert_invariants`] is called after every step in tests and simulations. Time must not go
/// backwards. Nothing a peer does makes `step` fail.
#[derive(Clone, Debug)]
pub struct Machine {
    pub(super) settings: Settings,
    pub(super) roster: Roster,
    pub(super) phase: Phase,
    pub(super) version: Version,
    pub(super) round: Round,
    pub(super) attempt: Attempt,
    pub(super) measuring: Vec<Measuring>,
    /// Rows that are not durable yet, oldest first.
    waiting: VecDeque<(u64, After)>,
    pub(super) next_sequence: u64,
    retry_at: Option<Time>,
    has_opened: bool,
    target_reached: bool,
    /// The last digest that was built, until its row is durable.
    built: Option<Digest>,
    told_waiting: Option<(usize, usize)>,
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
            measuring: Vec::new(),
            waiting: VecDeque::new(),
            next_sequence,
            retry_at: None,
            has_opened: false,
            target_reached: false,
            built: None,
            told_waiting: None,
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

    /// The ticket whose updates are accepted now.
    #[must_use]
    pub const fn open_ticket(&self) -> Option<Ticket> {
        match &self.phase {
            Phase::Collecting(round) if round.is_open => Some(round.ticket),
            _ => None,
        }
    }

    /// Whether an upload of `client` for `ticket` may come: it saves the bytes of those that would be discarded.
    #[must_use]
    pub fn expects(&self, client: &ClientId, ticket: Ticket) -> bool {
        let Phase::Collecting(round) = &self.phase else { return false };
        let place = round.places.binary_search_by(|place| place.client.cmp(client));
        round.is_open
            && round.ticket == ticket
            && place.is_ok_and(|index| !matches!(round.places[index].slot, Slot::Declined(_) | Slot::Lost(_)))
    }

    /// The time at which `Wake` is wanted; later than the time of the last step.
    #[must_use]
    pub fn wake_at(&self) -> Option<Time> {
        let round = match &self.phase {
            // A round whose deadline is over waits for rows only, not for time.
            Phase::Collecting(round) if round.is_open && round.places.iter().any(|place| place.slot.is_open()) => {
                Some(round.deadline)
            }
            _ => None,
        };
        // A measuring whose answers are all here waits for an earlier one, not for time.
        let measuring = self.measuring.iter().filter(|measuring| !measuring.awaited.is_empty());
        let measuring = measuring.map(|measuring| measuring.deadline).min();
        round.into_iter().chain(measuring).chain(self.retry_at).min()
    }

    /// Takes one event at `now` and appends what is to be done. Never fails, never blocks.
    pub fn step(&mut self, now: Time, event: Event, effects: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Done { .. }) {
            return;
        }
        match event {
            Event::Appended { sequence } => self.appended(now, sequence, effects),
            Event::Closed { ticket } => self.closed(ticket),
            Event::Committed { version, digest } => self.committed(version, digest, effects),
            Event::Evaluated { client, ticket } => self.evaluated(&client, ticket),
            Event::Joined { client, role, holding } => self.joined(now, &client, role, holding, effects),
            Event::Left { client } => self.left(&client),
            Event::Refused { client, ticket, reason } => self.refused(now, client, ticket, reason, effects),
            Event::Staged { client, ticket, weight, digest } => {
                self.staged(now, client, ticket, weight, digest, effects);
            }
            Event::StopAsked => return self.suspend(effects),
            Event::StoreFailed { reason } => return self.stop(Reason::StoreFailed { reason }, effects),
            Event::TargetReached => self.target_reached = true,
            Event::TaskAccepted { client, ticket } => self.accepted(&client, ticket),
            Event::TaskDeclined { client, ticket, reason } => self.declined(now, &client, ticket, reason),
            Event::Wake => self.wake(now, effects),
        }
        self.advance(now, effects);
    }

    /// Everything that follows from the state alone.
    fn advance(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.retry_at = self.retry_at.filter(|at| *at > now);
        self.report_measured(effects);
        if let Phase::Collecting(round) = &self.phase
            && round.is_open
            && round.n_terminal == round.places.len()
        {
            self.close(effects);
        }
        if let Phase::Committing(round) = &self.phase
            && round.is_open
            && !self.measuring.iter().any(|measuring| measuring.version < self.version)
        {
            self.commit(effects);
        }
        if matches!(self.phase, Phase::Idle) && self.waiting.is_empty() {
            self.open_next(now, effects);
        }
    }

    fn append(&mut self, row: Row, after: After, effects: &mut Vec<Effect>) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.waiting.push_back((sequence, after));
        effects.push(Effect::Append { sequence, row });
    }

    fn appended(&mut self, now: Time, sequence: u64, effects: &mut Vec<Effect>) {
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

    // ---- opening ----

    fn open_next(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.measuring.iter().any(|measuring| measuring.blocks) || self.retry_at.is_some() {
            return;
        }
        if self.target_reached || self.round.0 > self.settings.rounds {
            if self.measuring.is_empty() {
                let reason = if self.target_reached { Reason::Target } else { Reason::Rounds };
                self.stop(reason, effects);
            }
            return;
        }
        let joined = self.roster.n_clients();
        let size = self.settings.cohort.of(joined);
        let quorum = self.settings.quorum.of(size);
        let needed = if self.has_opened { quorum } else { quorum.max(self.settings.wait_for) };
        if joined < needed || size < quorum {
            if self.told_waiting != Some((joined, needed)) {
                self.told_waiting = Some((joined, needed));
                effects.push(Effect::Publish(Report::Waiting { joined, needed }));
            }
            return;
        }
        self.has_opened = true;
        self.told_waiting = None;
        let chosen = self.settings.selector.choose(joined, size, self.settings.seed, self.round, self.attempt);
        let cohort = self.roster.pick(&chosen);
        let ticket = Ticket::Train { round: self.round, attempt: self.attempt };
        let places =
            cohort.iter().map(|client| Place { client: client.clone(), slot: Slot::Offered, ended: now }).collect();
        self.phase = Phase::Collecting(Collecting {
            ticket,
            places,
            opened: now,
            deadline: now + self.settings.deadline,
            is_open: false,
            quorum,
            weight: 0,
            n_folded: 0,
            n_terminal: 0,
        });
        self.append(Row::RoundOpened { ticket, cohort }, After::Open, effects);
    }

    fn offer_all(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Phase::Collecting(round) = &mut self.phase else { unreachable!("only an opening appends `RoundOpened`") };
        round.is_open = true;
        round.opened = now;
        round.deadline = now + self.settings.deadline;
        for (index, place) in round.places.iter().enumerate().filter(|(_, place)| place.slot == Slot::Offered) {
            effects.push(Effect::Offer {
                client: place.client.clone(),
                ticket: round.ticket,
                slot: slot_id(index),
                version: self.version,
                left: self.settings.deadline,
            });
        }
    }

    // ---- peers ----

    fn joined(&mut self, now: Time, client: &ClientId, role: Role, holding: Option<Ticket>, effects: &mut Vec<Effect>) {
        self.roster.join(client, role);
        self.revive(now, client, holding, effects);
        let version = self.version;
        for measuring in self.measuring.iter().filter(|measuring| measuring.awaited.contains(client)) {
            effects.push(Effect::Offer {
                client: client.clone(),
                ticket: measuring.ticket(),
                slot: SlotId(0),
                version: measuring.version,
                left: measuring.deadline.since(now),
            });
        }
        if let Some(ticket) = holding
            && self.phase.round().is_none_or(|round| round.ticket != ticket)
        {
            let reason = format!("this work is over, version {version} is committed");
            effects.push(Effect::Cancel { client: client.clone(), ticket, reason });
        }
    }

    /// Gives a client that came back its slot again.
    fn revive(&mut self, now: Time, client: &ClientId, holding: Option<Ticket>, effects: &mut Vec<Effect>) {
        let version = self.version;
        let Phase::Collecting(round) = &mut self.phase else { return };
        let (ticket, is_open, left) = (round.ticket, round.is_open, round.deadline.since(now));
        let Some((index, place)) = round.place(client).filter(|(_, place)| place.slot.is_open()) else { return };
        if holding == Some(ticket) {
            place.slot = Slot::Training;
            return;
        }
        place.slot = Slot::Offered;
        if is_open {
            let (client, slot) = (client.clone(), slot_id(index));
            effects.push(Effect::Offer { client, ticket, slot, version, left });
        }
    }

    fn left(&mut self, client: &ClientId) {
        self.roster.leave(client);
        if let Phase::Collecting(round) = &mut self.phase
            && let Some((_, place)) = round.place(client)
            && place.slot.is_open()
        {
            place.slot = Slot::Away;
        }
    }

    fn accepted(&mut self, client: &ClientId, ticket: Ticket) {
        if let Some((_, place)) = self.open_place(client, ticket) {
            place.slot = Slot::Training;
        }
    }

    fn declined(&mut self, now: Time, client: &ClientId, ticket: Ticket, reason: String) {
        self.evaluated(client, ticket);
        self.end_slot(now, client, ticket, Slot::Declined(reason));
    }

    fn refused(&mut self, now: Time, client: ClientId, ticket: Ticket, reason: String, effects: &mut Vec<Effect>) {
        self.end_slot(now, &client, ticket, Slot::Lost(Loss::Refused(reason.clone())));
        effects.push(Effect::Discard { client, ticket, reason });
    }

    fn staged(
        &mut self,
        now: Time,
        client: ClientId,
        ticket: Ticket,
        weight: u64,
        digest: Digest,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(reason) = self.check_weight(weight) {
            return self.refused(now, client, ticket, reason, effects);
        }
        if let Some((_, place)) = self.open_place(&client, ticket) {
            place.slot = Slot::Staged { weight, digest };
            let row = Row::UpdateAccepted { ticket, client: client.clone(), weight, digest };
            return self.append(row, After::Accept(client), effects);
        }
        let reason = match self.slot_of(&client, ticket) {
            Some(Slot::Folded { digest: held, .. }) if *held == digest => {
                return effects.push(Effect::Receipt { client, ticket, digest });
            }
            // The same bytes twice: the acknowledgement of the first is on its way.
            Some(Slot::Staged { digest: held, .. }) if *held == digest => return,
            Some(Slot::Folded { .. } | Slot::Staged { .. }) => {
                "another update of this client for the same work was accepted already".to_owned()
            }
            Some(slot) => format!("the slot is closed: {}", slot.name()),
            None => "it belongs to no open round".to_owned(),
        };
        effects.push(Effect::Discard { client, ticket, reason });
    }

    fn check_weight(&self, weight: u64) -> Result<(), String> {
        if weight == 0 || weight > WEIGHT_MAX {
            return Err(format!("a weight of {weight} is outside 1 to {WEIGHT_MAX}"));
        }
        let pending = self.phase.round().map_or(0, |round| {
            let staged = round.places.iter().filter_map(|place| match place.slot {
                Slot::Staged { weight, .. } => Some(weight),
                _ => None,
            });
            round.weight + staged.sum::<u64>()
        });
        if pending + weight > WEIGHT_SUM_MAX {
            return Err(format!("with a weight of {weight} the round's sum exceeds {WEIGHT_SUM_MAX}"));
        }
        Ok(())
    }

    /// The place of `client` in the open round of `ticket`, if an update may still come of it.
    fn open_place(&mut self, client: &ClientId, ticket: Ticket) -> Option<(usize, &mut Place)> {
        match &mut self.phase {
            Phase::Collecting(round) if round.is_open && round.ticket == ticket => {
                round.place(client).filter(|(_, place)| place.slot.is_open())
            }
            _ => None,
        }
    }

    fn slot_of(&self, client: &ClientId, ticket: Ticket) -> Option<&Slot> {
        let round = self.phase.round().filter(|round| round.ticket == ticket)?;
        let index = round.places.binary_search_by(|place| place.client.cmp(client)).ok()?;
        Some(&round.places[index].slot)
    }

    fn end_slot(&mut self, now: Time, client: &ClientId, ticket: Ticket, slot: Slot) {
        if let Some((index, _)) = self.open_place(client, ticket)
            && let Phase::Collecting(round) = &mut self.phase
        {
            round.end(index, slot, now);
        }
    }

    fn fold(&mut self, now: Time, client: &ClientId, effects: &mut Vec<Effect>) {
        let Phase::Collecting(round) = &mut self.phase else { unreachable!("a round waits for its staged updates") };
        let ticket = round.ticket;
        let (index, place) = round.place(client).expect("only a slot's client is accepted");
        let Slot::Staged { weight, digest } = place.slot else { unreachable!("a staged slot ends by its fold alone") };
        round.end(index, Slot::Folded { weight, digest }, now);
        round.weight += weight;
        round.n_folded += 1;
        effects.push(Effect::Fold { client: client.clone(), ticket, weight });
        effects.push(Effect::Receipt { client: client.clone(), ticket, digest });
    }

    // ---- closing ----

    fn wake(&mut self, now: Time, effects: &mut Vec<Effect>) {
        for measuring in self.measuring.iter_mut().filter(|measuring| measuring.deadline <= now) {
            measuring.give_up(effects);
        }
        let Phase::Collecting(round) = &mut self.phase else { return };
        if !round.is_open || round.deadline > now {
            return;
        }
        for index in 0..round.places.len() {
            if round.places[index].slot.is_open() {
                round.end(index, Slot::Lost(Loss::Late), now);
                let (client, ticket) = (round.places[index].client.clone(), round.ticket);
                effects.push(Effect::Cancel { client, ticket, reason: "the deadline is over".to_owned() });
            }
        }
    }

    fn close(&mut self, effects: &mut Vec<Effect>) {
        let Phase::Collecting(round) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            unreachable!("only a collecting round closes")
        };
        let fates = round.places.iter().map(|place| Fate {
            client: place.client.clone(),
            slot: place.slot.clone(),
            ended: place.ended,
        });
        let (ticket, opened) = (round.ticket, round.opened);
        effects.push(Effect::Publish(Report::Closed { ticket, opened, fates: fates.collect() }));
        if round.n_folded >= round.quorum {
            self.append(Row::RoundClosing { ticket }, After::Close, effects);
        } else {
            let missing = round.missing();
            self.append(Row::RoundAborted { ticket, missing }, After::Abort, effects);
        }
        self.phase = Phase::Closing(round);
    }

    fn begin_closing(&self, effects: &mut Vec<Effect>) {
        let Phase::Closing(round) = &self.phase else { unreachable!("only a closing appends `RoundClosing`") };
        effects.push(Effect::Close { ticket: round.ticket });
    }

    fn aborted(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Phase::Closing(round) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            unreachable!("only a closing round aborts")
        };
        let missing = round.missing();
        effects.push(Effect::Drop { ticket: round.ticket });
        effects.push(Effect::Publish(Report::Aborted { ticket: round.ticket, missing: missing.clone() }));
        self.attempt = self.attempt.next();
        if self.attempt.0 >= ATTEMPTS_MAX {
            return self.stop(Reason::QuorumMissed { missing }, effects);
        }
        self.retry_at = Some(now + RETRY_AFTER * (1 << (self.attempt.0 - 1)));
    }

    /// The commit follows from the state: it may have to wait for an older evaluation.
    fn closed(&mut self, ticket: Ticket) {
        if let Phase::Closing(round) = &self.phase
            && round.ticket == ticket
            && round.n_folded >= round.quorum
            && let Phase::Closing(round) = std::mem::replace(&mut self.phase, Phase::Idle)
        {
            self.phase = Phase::Committing(round);
        }
    }

    /// `is_open` of a committing round: the commit was not asked for yet.
    fn commit(&mut self, effects: &mut Vec<Effect>) {
        let Phase::Committing(round) = &mut self.phase else { unreachable!("the caller looked") };
        round.is_open = false;
        let version = self.version.next();
        effects.push(Effect::Commit { ticket: round.ticket, version, weight: round.weight });
    }

    fn committed(&mut self, version: Version, digest: Digest, effects: &mut Vec<Effect>) {
        let Phase::Committing(round) = &self.phase else { return };
        if round.is_open || version != self.version.next() || self.built.is_some() {
            return;
        }
        let (ticket, weight) = (round.ticket, round.weight);
        self.built = Some(digest);
        self.append(Row::ModelCommitted { ticket, version, digest, weight }, After::Commit, effects);
    }

    fn publish(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Phase::Committing(round) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            unreachable!("only a committing round appends `ModelCommitted`")
        };
        self.version = self.version.next();
        let report = Report::Finished {
            ticket: round.ticket,
            version: self.version,
            clients: round.n_folded,
            weight: round.weight,
            digest: self.built.take().expect("a commit has a digest"),
            opened: round.opened,
            committed: now,
        };
        self.measure(now, report, effects);
        self.round = self.round.next();
        self.attempt = Attempt(0);
    }

    // ---- measuring ----

    fn measure(&mut self, now: Time, report: Report, effects: &mut Vec<Effect>) {
        let mut awaited = std::collections::BTreeSet::new();
        let mut blocks = self.settings.has_target;
        let mut deadline = now;
        let is_last = self.round.0 == self.settings.rounds;
        if let Some(evaluate) = &self.settings.evaluate
            && (is_last || self.round.0.is_multiple_of(evaluate.every))
        {
            deadline = now + evaluate.deadline;
            if evaluate.clients {
                awaited.extend(self.roster.clients());
                blocks = true;
            }
            if evaluate.central {
                awaited.extend(self.roster.evaluators().cloned());
            }
        }
        let measuring = Measuring { version: self.version, deadline, awaited, blocks, report };
        let (ticket, version, left) = (measuring.ticket(), measuring.version, deadline.since(now));
        effects.extend(measuring.awaited.iter().map(|client| Effect::Offer {
            client: client.clone(),
            ticket,
            slot: SlotId(0),
            version,
            left,
        }));
        self.measuring.push(measuring);
    }

    fn evaluated(&mut self, client: &ClientId, ticket: Ticket) {
        if let Some(measuring) = self.measuring.iter_mut().find(|measuring| measuring.ticket() == ticket) {
            measuring.awaited.remove(client);
        }
    }

    /// Reports in the order of versions: a later evaluation that is over waits for an earlier one.
    fn report_measured(&mut self, effects: &mut Vec<Effect>) {
        let n_over = self.measuring.iter().take_while(|measuring| measuring.awaited.is_empty()).count();
        effects.extend(self.measuring.drain(..n_over).map(|measuring| Effect::Publish(measuring.report)));
    }

    // ---- ending ----

    fn suspend(&mut self, effects: &mut Vec<Effect>) {
        self.stop(Reason::Suspended, effects);
    }

    fn stop(&mut self, reason: Reason, effects: &mut Vec<Effect>) {
        for measuring in &mut self.measuring {
            measuring.awaited.clear();
        }
        self.report_measured(effects);
        self.retry_at = None;
        self.phase = Phase::Done { reason: reason.clone() };
        effects.push(Effect::Stop { reason });
    }
}

fn slot_id(index: usize) -> SlotId {
    SlotId(u32::try_from(index).expect("cohorts are below 2^32"))
}
