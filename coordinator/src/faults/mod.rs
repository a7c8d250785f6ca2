//! Whole runs under simulated faults: the real machines of coordinator and clients, the journal's own rows, a disk and a
//! network that fail, all from one seed.
//!
//! A run's seed decides its settings, what its clients do, and which faults it has to endure ([`weather`]). What is judged is
//! what can be seen from outside ([`oracle`]): an update whose receipt reached its client is in its round's commit, or the
//! round was aborted and a durable row says so; nobody counts twice; versions grow by one, from the exact sum of those who
//! count, at least a quorum; a round closes when its deadline is over, restarts or not; damage of the disk is named; and once
//! the faults stop the run ends.
//!
//! Not here: sockets, threads, SQLite and the file system. `tests/e2e/` has those; [`disk`] compares itself with the real
//! journal.

mod campaign;
mod device;
mod disk;
mod effort;
mod fault;
mod inputs;
mod message;
mod mutants;
mod network;
mod oracle;
mod process;
mod tests;
mod threads;
mod weather;
mod work;
mod world;
