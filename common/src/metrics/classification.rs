//! Counts of right and wrong classes, and the loss.

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{ClassScore, EXAMPLES_MAX, Error, Scores, Total};

/// Up to this many classes the whole confusion matrix is kept; above, three counts a class.
pub const MATRIX_CLASSES_MAX: u32 = 64;

/// The most classes: three 8-byte counts for each fit a 64 KiB frame.
pub const CLASSES_MAX: u32 = 2_048;

/// What a classifier got right and wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Classification {
    classes: u32,
    /// Up to [`MATRIX_CLASSES_MAX`] classes the matrix, rows = truth; above, for each class true positives, false positives
    /// and false negatives.
    counts: Vec<u64>,
    loss: Total,
}

impl Classification {
    /// Nothing counted yet.
    ///
    /// # Errors
    /// No class, or more than [`CLASSES_MAX`].
    pub fn new(classes: u32) -> Result<Self, Error> {
        Ok(Self { classes, counts: vec![0; counts_of(classes)?], loss: Total::default() })
    }

    /// Counts an example.
    ///
    /// # Errors
    /// A class that the model does not have.
    pub fn count(&mut self, truth: u32, predicted: u32) -> Result<(), Error> {
        let classes = self.classes;
        if let Some(class) = [truth, predicted].into_iter().find(|&class| class >= classes) {
            return Err(Error::ClassUnknown { class, classes });
        }
        let (truth, predicted) = (truth as usize, predicted as usize);
        if classes <= MATRIX_CLASSES_MAX {
            self.counts[truth * classes as usize + predicted] += 1;
        } else if truth == predicted {
            self.counts[3 * truth] += 1;
        } else {
            self.counts[3 * predicted + 1] += 1;
            self.counts[3 * truth + 2] += 1;
        }
        Ok(())
    }

    /// Sets the loss: the sum over all examples that were counted, rounded here, once.
    pub fn set_loss(&mut self, sum: f64) {
        self.loss = Total::of(sum);
    }

    /// Adds what was counted elsewhere.
    ///
    /// # Errors
    /// Another number of classes, or more than can be counted; nothing has changed then.
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        if self.classes != other.classes {
            let kind = |classes| format!("classification of {classes} classes");
            return Err(Error::KindDiffers(kind(self.classes), kind(other.classes)));
        }
        let loss = self.loss.plus(other.loss)?;
        if self.n() + other.n() > EXAMPLES_MAX {
            return Err(Error::TooMany);
        }
        self.loss = loss;
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        Ok(())
    }

    /// The number of classes.
    #[must_use]
    pub const fn classes(&self) -> u32 {
        self.classes
    }

    /// The number of examples.
    #[must_use]
    pub fn n(&self) -> u64 {
        if self.classes <= MATRIX_CLASSES_MAX {
            self.counts.iter().sum()
        } else {
            self.counts.as_chunks().0.iter().map(|[right, _, missed]| right + missed).sum()
        }
    }

    /// The examples whose class was predicted.
    #[must_use]
    pub fn correct(&self) -> u64 {
        self.per_class_counts().map(|[right, _, _]| right).sum()
    }

    /// The mean loss of an example; NaN if there is none, or if a client's loss was beyond all range.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.loss.over(self.n())
    }

    /// The confusion matrix row by row, rows = truth; none above [`MATRIX_CLASSES_MAX`] classes.
    #[must_use]
    pub fn confusion(&self) -> Option<&[u64]> {
        (self.classes <= MATRIX_CLASSES_MAX).then_some(&self.counts)
    }

    /// Precision, recall and F1 of each class.
    #[must_use]
    pub fn per_class(&self) -> Vec<ClassScore> {
        self.per_class_counts().map(ClassScore::of).collect()
    }

    /// The scores over all classes.
    #[must_use]
    pub fn scores(&self) -> Scores {
        Scores::of(&self.per_class_counts().collect::<Vec<_>>())
    }

    /// For each class true positives, false positives and false negatives.
    fn per_class_counts(&self) -> impl Iterator<Item = [u64; 3]> + '_ {
        let classes = self.classes as usize;
        (0..classes).map(move |class| {
            if self.classes > MATRIX_CLASSES_MAX {
                let at = 3 * class;
                return [self.counts[at], self.counts[at + 1], self.counts[at + 2]];
            }
            let right = self.counts[class * classes + class];
            let row: u64 = self.counts[class * classes..][..classes].iter().sum();
            let column: u64 = self.counts[class..].iter().step_by(classes).sum();
            [right, column - right, row - right]
        })
    }
}

fn counts_of(classes: u32) -> Result<usize, Error> {
    match classes {
        1..=MATRIX_CLASSES_MAX => Ok((classes * classes) as usize),
        ..=CLASSES_MAX if classes > 0 => Ok(3 * classes as usize),
        _ => Err(Error::ClassesOutside(classes)),
    }
}

/// What came over the wire, before its counts are compared with each other.
#[derive(Deserialize)]
struct Unchecked {
    classes: u32,
    #[serde(deserialize_with = "bounded")]
    counts: Vec<u64>,
    loss: Total,
}

/// The most counts of any number of classes.
const COUNTS_MAX: usize = 3 * CLASSES_MAX as usize;

/// A list of at most [`COUNTS_MAX`] counts. By itself serde makes room for what a list claims, up to 1 MiB, however little
/// of it has come.
fn bounded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
    struct Counts;

    impl<'de> Visitor<'de> for Counts {
        type Value = Vec<u64>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "at most {COUNTS_MAX} counts")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u64>, A::Error> {
            let claimed = seq.size_hint().unwrap_or(0);
            if claimed > COUNTS_MAX {
                return Err(A::Error::invalid_length(claimed, &self));
            }
            let mut counts = Vec::with_capacity(claimed);
            while let Some(count) = seq.next_element()? {
                if counts.len() == COUNTS_MAX {
                    return Err(A::Error::invalid_length(COUNTS_MAX + 1, &self));
                }
                counts.push(count);
            }
            Ok(counts)
        }
    }

    deserializer.deserialize_seq(Counts)
}

impl TryFrom<Unchecked> for Classification {
    type Error = Error;

    fn try_from(unchecked: Unchecked) -> Result<Self, Error> {
        let Unchecked { classes, counts, loss } = unchecked;
        if counts.len() != counts_of(classes)? {
            return Err(Error::Contradiction("the counts are not those of so many classes"));
        }
        let width = if classes > MATRIX_CLASSES_MAX { 3 } else { 1 };
        let mut sums = [0_u64; 3];
        for (i, &count) in counts.iter().enumerate() {
            let sum = &mut sums[i % width];
            *sum = sum.checked_add(count).filter(|&sum| sum <= EXAMPLES_MAX).ok_or(Error::TooMany)?;
        }
        if sums[0] + sums[2] > EXAMPLES_MAX {
            return Err(Error::TooMany);
        }
        if sums[1] != sums[2] {
            return Err(Error::Contradiction("there are not as many false positives as false negatives"));
        }
        Ok(Self { classes, counts, loss })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec;
    use proptest::prelude::*;

    /// What goes wrong without it: seventeen bytes make a mebibyte of room.
    #[test]
    fn a_list_of_counts_is_refused_by_its_length_alone() {
        let encoded = |counts: u64| codec::encode(&(3_u32, vec![0_u64; usize::try_from(counts).unwrap()])).unwrap();
        let most = COUNTS_MAX as u64;
        let error = |bytes: &[u8]| codec::decode::<Classification>(bytes).unwrap_err().to_string();
        // As many as there may be, and no loss behind them; then one more.
        assert!(!error(&encoded(most)).contains("invalid length"), "{}", error(&encoded(most)));
        let longer = error(&encoded(most + 1));
        assert!(longer.contains("6145") && longer.contains("at most 6144 counts"), "{longer}");
    }

    fn of(classes: u32, pairs: &[(u32, u32)], loss: f64) -> Classification {
        let mut counts = Classification::new(classes).unwrap();
        for &(truth, predicted) in pairs {
            counts.count(truth, predicted).unwrap();
        }
        counts.set_loss(loss);
        counts
    }

    #[test]
    fn many_classes_keep_three_counts_and_the_same_scores() {
        let pairs: Vec<(u32, u32)> = (0..500).map(|i| (i * i % 7, i * 3 % 5)).collect();
        let (few, many) = (of(7, &pairs, 1.0), of(100, &pairs, 1.0));
        assert!(few.confusion().is_some() && many.confusion().is_none());
        assert_eq!((few.n(), few.correct()), (500, many.correct()));
        assert_eq!(few.per_class(), many.per_class()[..7]);
        assert_eq!(few.scores(), many.scores());
    }

    #[test]
    fn classes_outside_are_refused() {
        assert_eq!(Classification::new(0), Err(Error::ClassesOutside(0)));
        assert_eq!(Classification::new(CLASSES_MAX + 1), Err(Error::ClassesOutside(CLASSES_MAX + 1)));
        Classification::new(CLASSES_MAX).unwrap();
        let mut counts = Classification::new(2).unwrap();
        assert_eq!(counts.count(0, 2), Err(Error::ClassUnknown { class: 2, classes: 2 }));
        assert_eq!(counts.n(), 0);
    }

    #[test]
    fn counts_from_outside_that_contradict_each_other_are_refused() {
        let read = |classes, counts| Classification::try_from(Unchecked { classes, counts, loss: Total::default() });
        assert!(read(2, vec![1, 2, 3, 4]).is_ok());
        assert!(read(2, vec![1, 2, 3]).is_err());
        assert!(read(2, vec![u64::MAX, 2, 3, 4]).is_err());
        assert!(read(u32::MAX, vec![]).is_err());
        let mut counts = vec![0; 300];
        (counts[1], counts[5]) = (1, 1);
        assert!(read(100, counts.clone()).is_ok());
        counts[5] = 2;
        assert!(read(100, counts).is_err());
    }

    #[test]
    fn too_many_examples_change_nothing() {
        let unchecked = Unchecked { classes: 1, counts: vec![EXAMPLES_MAX], loss: Total::default() };
        let mut counts = Classification::try_from(unchecked).unwrap();
        assert_eq!(counts.merge(&of(1, &[(0, 0)], 0.5)), Err(Error::TooMany));
        assert_eq!((counts.n(), counts.loss.value().to_bits()), (EXAMPLES_MAX, 0.0_f64.to_bits()));
    }

    proptest! {
        #[test]
        fn merging_does_not_depend_on_order(
            clients in prop::collection::vec((prop::collection::vec((0_u32..5, 0_u32..5), 0..20), -9.0..9e9), 1..12),
            keys in prop::collection::vec(any::<u32>(), 12),
        ) {
            let all: Vec<_> = clients.iter().map(|(pairs, loss)| of(5, pairs, *loss)).collect();
            let merged = |order: &[usize]| {
                let mut sum = Classification::new(5).unwrap();
                order.iter().for_each(|&i| sum.merge(&all[i]).unwrap());
                sum
            };
            let mut order: Vec<usize> = (0..all.len()).collect();
            let inorder = merged(&order);
            order.sort_by_key(|&i| keys[i]);
            prop_assert_eq!(&merged(&order), &inorder);
            let pairs: Vec<_> = clients.iter().flat_map(|(pairs, _)| pairs.clone()).collect();
            prop_assert_eq!(&inorder.counts, &of(5, &pairs, 0.0).counts);
        }
    }
}
