//! The kinds of faults, and how often each one struck.

/// What can go wrong. A fault that strikes is counted; one that never does proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// A bit of a durable row is another one when it is read again.
    BitFlip,
    /// A bit of a kept update or version is another one when it is read again.
    BitFlipInPayload,
    /// A model, an update or results do not get through, although the connection stands.
    BrokenOff,
    /// A client's process ends; what it had not kept is gone.
    ClientKilled,
    /// The same, between two of its effects.
    ClientKilledMidway,
    /// The coordinator's clock jumps ahead, as after a pause of its machine.
    ClockJump,
    /// A member sends a second, different update for the same work.
    Conflict,
    /// The coordinator's process ends.
    CoordinatorKilled,
    /// The same, between two of its effects.
    CoordinatorKilledMidway,
    /// The same, while rows are on their way to the disk.
    CoordinatorKilledWriting,
    /// A training fails.
    Declined,
    /// A message takes seconds.
    Delayed,
    /// No space is left for a version or for rows.
    DiskFull,
    /// A message comes twice.
    Duplicated,
    /// An fsync fails; what it was for may be on the disk or not.
    FsyncFailed,
    /// An fsync takes seconds.
    FsyncSlow,
    /// A process ended while rows were on their way to the disk, and they are there.
    Landed,
    /// A member announces what is not what it sends, or what nobody can add.
    Lied,
    /// A message does not come.
    Lost,
    /// The coordinator does not take an update, for a reason of its own.
    NotTaken,
    /// Nothing passes between a client and the coordinator.
    Partitioned,
    /// Nothing passes in one direction.
    PartitionedOneWay,
    /// A message overtakes another.
    Reordered,
    /// A client's certificate is taken back; later it gets another one.
    Revoked,
    /// A training takes longer than the round.
    Slow,
    /// A member sends an update of a round that is over, or not open yet, or not for it.
    Stale,
    /// Somebody stops the coordinator in good order.
    Stopped,
    /// A process ended while rows were on their way to the disk, and they are not there.
    Torn,
}

impl Fault {
    /// All kinds, in the order of their names.
    pub(super) const ALL: [Self; 28] = [
        Self::BitFlip,
        Self::BitFlipInPayload,
        Self::BrokenOff,
        Self::ClientKilled,
        Self::ClientKilledMidway,
        Self::ClockJump,
        Self::Conflict,
        Self::CoordinatorKilled,
        Self::CoordinatorKilledMidway,
        Self::CoordinatorKilledWriting,
        Self::Declined,
        Self::Delayed,
        Self::DiskFull,
        Self::Duplicated,
        Self::FsyncFailed,
        Self::FsyncSlow,
        Self::Landed,
        Self::Lied,
        Self::Lost,
        Self::NotTaken,
        Self::Partitioned,
        Self::PartitionedOneWay,
        Self::Reordered,
        Self::Revoked,
        Self::Slow,
        Self::Stale,
        Self::Stopped,
        Self::Torn,
    ];

    /// Those that strike by themselves, not at an occasion such as a message.
    pub(super) const STRIKES: [Self; 8] = [
        Self::ClientKilled,
        Self::ClockJump,
        Self::CoordinatorKilled,
        Self::Partitioned,
        Self::PartitionedOneWay,
        Self::Revoked,
        Self::Stale,
        Self::Stopped,
    ];

    /// How often it strikes at an occasion where it may, of 10,000 times, in weather of usual strength. Chosen so that most
    /// rounds see some fault and most runs still get on.
    pub(super) const fn usual(self) -> u64 {
        match self {
            Self::BitFlip | Self::BitFlipInPayload => 1500,
            Self::ClientKilledMidway => 60,
            Self::Conflict | Self::Lied => 400,
            Self::CoordinatorKilledMidway | Self::CoordinatorKilledWriting => 40,
            Self::Declined => 400,
            Self::Delayed => 150,
            Self::DiskFull | Self::FsyncFailed => 40,
            Self::Duplicated | Self::Reordered => 500,
            Self::FsyncSlow => 400,
            Self::Lost => 150,
            Self::BrokenOff | Self::NotTaken => 800,
            Self::Slow => 700,
            // Of those that strike by themselves, one is drawn; and what becomes of rows on their way is a matter of luck.
            Self::ClientKilled
            | Self::ClockJump
            | Self::CoordinatorKilled
            | Self::Partitioned
            | Self::PartitionedOneWay
            | Self::Revoked
            | Self::Stale
            | Self::Stopped => 10_000,
            Self::Landed | Self::Torn => 5_000,
        }
    }
}

/// How often each kind struck, and what was achieved meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    struck: [u64; Fault::ALL.len()],
    /// Versions that were committed.
    pub(super) commits: u64,
    /// Attempts that missed their quorum.
    pub(super) aborts: u64,
    /// Receipts that reached their client.
    pub(super) receipts: u64,
    /// Processes of the coordinator beyond the first of each run.
    pub(super) restarts: u64,
    /// Damages of the disk that were found and named.
    pub(super) detected: u64,
    /// Updates that count for less than what was stated, because of the largest share.
    pub(super) bounded: u64,
}

impl Tally {
    pub(super) fn count(&mut self, fault: Fault) {
        self.struck[fault as usize] += 1;
    }

    pub(super) fn of(&self, fault: Fault) -> u64 {
        self.struck[fault as usize]
    }

    /// Rounds that came to an end: attempts that were committed or aborted.
    pub(super) const fn rounds(&self) -> u64 {
        self.commits + self.aborts
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.struck.iter_mut().zip(other.struck).for_each(|(sum, more)| *sum += more);
        self.commits += other.commits;
        self.aborts += other.aborts;
        self.receipts += other.receipts;
        self.restarts += other.restarts;
        self.detected += other.detected;
        self.bounded += other.bounded;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { commits, aborts, receipts, restarts, detected, bounded, .. } = self;
        write!(
            f,
            "{commits} commits, {aborts} aborts, {receipts} receipts, {restarts} restarts, {detected} damages found, \
             {bounded} weights bounded"
        )?;
        Fault::ALL.iter().try_for_each(|fault| write!(f, "; {fault:?} {}", self.of(*fault)))
    }
}
