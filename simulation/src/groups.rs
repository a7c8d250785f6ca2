//! Who is trained with whom, where trainers take several clients at once.
//!
//! Clients wait until the event loop asks for one of them: on the virtual clock all others of their round have come by
//! then. So groups depend on the run alone and never on threads, and the last bits of an update, which depend on who it was
//! trained with, are the same for every number of workers.

use std::cmp::Reverse;

use tributary_common::time::Time;

use crate::workers::Key;

/// What groups are made of.
pub(crate) trait Piece {
    /// When its result is asked for.
    fn due(&self) -> Time;

    /// How many examples it has.
    fn examples(&self) -> usize;
}

/// Work that waits for others.
pub(crate) struct Groups<P> {
    clients: usize,
    window: usize,
    waiting: Vec<(Key, P)>,
}

impl<P: Piece> Groups<P> {
    /// Groups of at most `clients`. Only pieces whose results are asked for one after the other, `window` of them, may share
    /// a group: it ends as a whole, so that a group from all over a large cohort would keep results lying about.
    pub(crate) fn new(clients: usize, window: usize) -> Self {
        Self { clients, window: window.next_multiple_of(clients).max(clients), waiting: Vec::new() }
    }

    /// Takes a piece, or returns it where there are no groups.
    pub(crate) fn add(&mut self, key: Key, piece: P) -> Option<(Key, P)> {
        if self.clients == 1 {
            return Some((key, piece));
        }
        self.waiting.push((key, piece));
        None
    }

    /// All groups, if `key` is among what waits. Pieces of one group have about the same length, because the shorter ones
    /// leave its device idle.
    pub(crate) fn form(&mut self, key: Key) -> Vec<Vec<(Key, P)>> {
        if self.waiting.iter().all(|(waiting, _)| *waiting != key) {
            return Vec::new();
        }
        self.waiting.sort_by_key(|(key, piece)| (piece.due(), *key));
        let mut groups = Vec::new();
        while !self.waiting.is_empty() {
            let mut window: Vec<_> = self.waiting.drain(..self.window.min(self.waiting.len())).collect();
            window.sort_by_key(|(key, piece)| (Reverse(piece.examples()), piece.due(), *key));
            while !window.is_empty() {
                groups.push(window.drain(..self.clients.min(window.len())).collect());
            }
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When it is due, and its length.
    impl Piece for (u64, usize) {
        fn due(&self) -> Time {
            Time(self.0)
        }

        fn examples(&self) -> usize {
            self.1
        }
    }

    fn formed(clients: usize, window: usize, lengths: &[usize]) -> Vec<Vec<Key>> {
        let mut groups = Groups::new(clients, window);
        for (key, &length) in (0..).zip(lengths) {
            assert_eq!(groups.add(key, (key, length)), None);
        }
        assert_eq!(groups.form(99), Vec::<Vec<_>>::new(), "nobody waits for that");
        let formed = groups.form(1);
        assert_eq!(groups.form(1), Vec::<Vec<_>>::new(), "they are gone");
        formed.into_iter().map(|group| group.into_iter().map(|(key, _)| key).collect()).collect()
    }

    #[test]
    fn pieces_of_like_length_are_together() {
        assert_eq!(formed(2, 100, &[3, 9, 4, 8, 5]), [[1, 3].as_slice(), &[4, 2], &[0]]);
        assert_eq!(formed(100, 1, &[3, 9, 4]), [[1, 2, 0]]);
    }

    /// Otherwise a cohort of thousands would lie finished in memory before the second of them is taken.
    #[test]
    fn pieces_that_are_asked_for_far_apart_are_not() {
        let expected = [[2, 3].as_slice(), &[0, 1], &[6, 4], &[5]];
        assert_eq!(formed(2, 3, &[1, 1, 9, 2, 8, 7, 9]), expected);
    }

    #[test]
    fn where_there_are_no_groups_nobody_waits() {
        assert_eq!(Groups::new(1, 100).add(7, (0, 3)), Some((7, (0, 3))));
    }
}
