//! Index lists of all clients, four bytes an example.

use tributary_common::Digest;

/// Which rows each client holds: one flat list, cut by bounds, so that a million clients cost no million allocations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    rows: Vec<u32>,
    /// Where each client's rows begin, and, last, where all end.
    bounds: Vec<u32>,
}

impl Parts {
    /// `rows` cut at `ends`: client k holds from the end before up to its own; the last end is the number of rows.
    pub(super) fn cut(rows: Vec<u32>, ends: impl IntoIterator<Item = usize>) -> Self {
        let bound = |end| u32::try_from(end).expect("a data set has at most EXAMPLES_MAX rows");
        let bounds: Vec<u32> = std::iter::once(0).chain(ends.into_iter().map(bound)).collect();
        assert!(bounds.is_sorted() && bounds.last() == Some(&bound(rows.len())), "bounds cut the whole list in order");
        Self { rows, bounds }
    }

    /// The lists of all clients, joined.
    pub(super) fn of(lists: &[Vec<u32>]) -> Self {
        let mut end = 0;
        let ends: Vec<usize> = lists
            .iter()
            .map(|list| {
                end += list.len();
                end
            })
            .collect();
        Self::cut(lists.concat(), ends)
    }

    /// Number of clients.
    #[must_use]
    pub const fn clients(&self) -> usize {
        self.bounds.len() - 1
    }

    /// Number of rows that were dealt.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The rows of client `client`.
    #[must_use]
    pub fn part(&self, client: usize) -> &[u32] {
        &self.rows[self.bounds[client] as usize..self.bounds[client + 1] as usize]
    }

    /// The rows of every client, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u32]> {
        (0..self.clients()).map(|client| self.part(client))
    }

    /// BLAKE3 over the number of clients, their sizes, and all rows: goes into the run's record.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(self.clients() as u64).to_le_bytes());
        let mut bytes = Vec::new();
        for part in self.iter() {
            bytes.clear();
            bytes.extend((part.len() as u64).to_le_bytes());
            part.iter().for_each(|row| bytes.extend(row.to_le_bytes()));
            hasher.update(&bytes);
        }
        hasher.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_cuts_of_the_same_rows_are_the_same_parts() {
        let parts = Parts::of(&[vec![3, 1], vec![], vec![2]]);
        assert_eq!(parts, Parts::cut(vec![3, 1, 2], [2, 2, 3]));
        assert_eq!((parts.clients(), parts.rows()), (3, 3));
        assert_eq!(parts.iter().collect::<Vec<_>>(), [&[3, 1][..], &[], &[2]]);
    }

    #[test]
    fn digest_depends_on_rows_and_on_cuts() {
        let digest = |rows: &[u32], ends: [usize; 2]| Parts::cut(rows.to_vec(), ends).digest();
        assert_eq!(digest(&[1, 2], [1, 2]), digest(&[1, 2], [1, 2]));
        assert_ne!(digest(&[1, 2], [1, 2]), digest(&[2, 1], [1, 2]));
        assert_ne!(digest(&[1, 2], [1, 2]), digest(&[1, 2], [0, 2]));
    }
}
