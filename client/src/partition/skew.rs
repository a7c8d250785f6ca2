//! How uneven a partition is.

use std::fmt;

use super::{Labels, Parts, real};

/// What is printed with every partition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Skew {
    /// Number of clients.
    pub clients: usize,
    /// Rows that were dealt.
    pub rows: usize,
    /// Rows of the smallest client.
    pub size_min: usize,
    /// Median of the clients' rows.
    pub size_median: f64,
    /// Rows of the largest client.
    pub size_max: usize,
    /// Mean over clients of their label entropy, in bits; none without classes.
    pub entropy: Option<f64>,
    /// Mean over clients of the Jensen–Shannon distance (square root of the divergence in bits, from 0 to 1) between
    /// their labels and all dealt ones; none without classes.
    pub distance: Option<f64>,
}

impl Skew {
    /// The skew of `parts`.
    #[must_use]
    pub fn of(parts: &Parts, labels: Option<Labels<'_>>) -> Self {
        let mut sizes: Vec<usize> = parts.iter().map(<[u32]>::len).collect();
        sizes.sort_unstable();
        let middle = sizes.len() / 2;
        let upper = sizes.get(middle).copied().unwrap_or_default();
        let lower = if sizes.len().is_multiple_of(2) { middle.saturating_sub(1) } else { middle };
        let lower = sizes.get(lower).copied().unwrap_or_default();
        let by_label = labels.map(|labels| by_label(parts, labels));
        Self {
            clients: parts.clients(),
            rows: parts.rows(),
            size_min: sizes.first().copied().unwrap_or_default(),
            size_median: real(lower + upper) / 2.0,
            size_max: sizes.last().copied().unwrap_or_default(),
            entropy: by_label.map(|(entropy, _)| entropy),
            distance: by_label.map(|(_, distance)| distance),
        }
    }
}

/// Mean entropy and mean distance.
fn by_label(parts: &Parts, labels: Labels<'_>) -> (f64, f64) {
    let mut all = vec![0; labels.classes];
    parts.iter().flatten().for_each(|&row| all[labels.of[row as usize] as usize] += 1);
    let (mut entropies, mut distances) = (0.0, 0.0);
    let mut mine = vec![0_usize; labels.classes];
    for part in parts.iter() {
        mine.fill(0);
        part.iter().for_each(|&row| mine[labels.of[row as usize] as usize] += 1);
        entropies += entropy(shares(&mine, part.len()));
        let mixed = shares(&mine, part.len()).zip(shares(&all, parts.rows())).map(|(p, q)| f64::midpoint(p, q));
        let apart = f64::midpoint(entropy(shares(&mine, part.len())), entropy(shares(&all, parts.rows())));
        distances += (entropy(mixed) - apart).max(0.0).sqrt();
    }
    let clients = real(parts.clients().max(1));
    (entropies / clients, distances / clients)
}

fn shares(counts: &[usize], total: usize) -> impl Iterator<Item = f64> {
    counts.iter().map(move |&count| real(count) / real(total.max(1)))
}

/// Shannon's entropy in bits.
fn entropy(shares: impl Iterator<Item = f64>) -> f64 {
    shares.filter(|&p| p > 0.0).map(|p| -p * p.log2()).sum()
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, rows, size_min, size_median, size_max, .. } = self;
        write!(f, "{clients} clients, {rows} rows: smallest {size_min}, median {size_median}, largest {size_max}")?;
        if let (Some(entropy), Some(distance)) = (self.entropy, self.distance) {
            write!(f, "; label entropy {entropy:.2} bits, distance to all {distance:.2} (0 alike, 1 apart)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skew_by_hand() {
        let labels = Labels { of: &[0, 0, 1, 1, 0, 1], classes: 3 };
        let skew = Skew::of(&Parts::of(&[vec![0, 1], vec![2, 3], vec![4, 5]]), Some(labels));
        assert_eq!((skew.size_min, skew.size_max, skew.rows), (2, 2, 6));
        // Entropies 0, 0, 1. Pure against even: H(3/4, 1/4) − (0 + 1)/2 = 0.311278…, its root 0.557923…; even: 0.
        assert!((skew.entropy.unwrap() - 1.0 / 3.0).abs() < 1e-12);
        assert!((skew.distance.unwrap() - 2.0 * 0.557_923_0 / 3.0).abs() < 1e-6);
        assert!(
            skew.to_string().starts_with("3 clients, 6 rows: smallest 2, median 2, largest 2; label entropy 0.33 bits")
        );
    }

    #[test]
    fn median_of_even_and_odd_numbers_of_clients() {
        let of = |sizes: &[u32]| {
            let lists: Vec<Vec<u32>> = sizes.iter().map(|&size| (0..size).collect()).collect();
            Skew::of(&Parts::of(&lists), None).size_median
        };
        assert!((of(&[5, 1, 2]) - 2.0).abs() < 1e-12);
        assert!((of(&[5, 1, 2, 3]) - 2.5).abs() < 1e-12);
    }
}
