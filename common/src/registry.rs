//! Which of the known names was meant: the "did you mean" of every registry and every table of keys.
//!
//! The rows themselves stand in [`crate::config::Row`], because a row knows how to read its options from a run file.

/// The candidate nearest to `name`, if it is near enough to have been meant: at most 2 edits, or a third of the longer
/// one's letters. Of equally near ones the first.
#[must_use]
pub fn closest<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let length = name.chars().count();
    candidates
        .iter()
        .map(|&candidate| (edits(name, candidate), candidate))
        .filter(|&(distance, candidate)| {
            let longer = candidate.chars().count().max(length);
            // A word replaced letter by letter is another word, however short it is.
            distance < longer && distance <= (longer / 3).max(2)
        })
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// The longest name that is compared, in letters; what is longer was not a slip of the finger.
const LETTERS_MAX: usize = 64;

/// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b` (optimal string alignment); letters
/// of either case are equal, and so are `-` and `_`.
fn edits(a: &str, b: &str) -> usize {
    let letters = |text: &str| -> Vec<char> {
        text.chars().take(LETTERS_MAX).map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
    };
    let (a, b) = (letters(a), letters(b));
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let substituted = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = substituted.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_find_the_name_that_was_meant() {
        let names = ["mean", "median", "trimmed_mean", "dirichlet", "dirichlet_sizes", "relu"];
        for (typed, meant) in [
            ("medain", "median"),
            ("meen", "mean"),
            ("MEAN", "mean"),
            ("trimmed-mean", "trimmed_mean"),
            ("trimed_meen", "trimmed_mean"),
            ("dirichelt", "dirichlet"),
            ("dirichlet_size", "dirichlet_sizes"),
            ("rleu", "relu"),
        ] {
            assert_eq!(closest(typed, &names), Some(meant), "{typed}");
        }
    }

    /// A wild guess is worse than the list of all names.
    #[test]
    fn names_that_are_far_suggest_nothing() {
        for typed in ["", "krum", "xy", "bulyan"] {
            assert_eq!(closest(typed, &["median", "dirichlet", "ab"]), None, "{typed}");
        }
        assert_eq!(closest("anything", &[]), None);
    }

    #[test]
    fn distance_counts_each_kind_of_edit_once() {
        for (a, b, expected) in [("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 1), ("kitten", "sitting", 3)] {
            assert_eq!(edits(a, b), expected, "{a} {b}");
            assert_eq!(edits(b, a), expected, "{b} {a}");
        }
    }
}
