//! Examples in memory.

use std::fmt;

use tributary_common::model::{Classes, Input};

use super::scale::{Real, Scale};
use super::{Clouds, EXAMPLES_MAX, Error};

/// The values of all examples, one after the other, as the source has them.
#[derive(Clone)]
pub enum Features {
    /// Images: a byte a pixel.
    Bytes(Vec<u8>),
    /// Synthetic ones, which are computed whenever they are read.
    Clouds(Clouds),
    /// Tables.
    Reals(Vec<f32>),
}

impl Features {
    const fn len(&self) -> usize {
        match self {
            Self::Bytes(values) => values.len(),
            Self::Clouds(clouds) => clouds.len(),
            Self::Reals(values) => values.len(),
        }
    }

    /// Where the first value stands that is no whole number below `below`.
    fn first_no_index(&self, below: usize) -> Option<usize> {
        match self {
            Self::Bytes(values) => values.iter().position(|&value| usize::from(value) >= below),
            // Real numbers around a centre.
            Self::Clouds(clouds) => (clouds.len() > 0).then_some(0),
            #[expect(
                clippy::cast_precision_loss,
                reason = "an embedding has at most 2^24 rows, exact in single precision"
            )]
            Self::Reals(values) => {
                values.iter().position(|&value| !(value >= 0.0 && value < below as f32 && value.fract() == 0.0))
            }
        }
    }
}

/// What is to be predicted of each example.
#[derive(Clone)]
pub enum Labels {
    /// Its class; below the number of classes of the run.
    Classes(Vec<u32>),
    /// A finite number.
    Targets(Vec<f64>),
}

impl Labels {
    const fn len(&self) -> usize {
        match self {
            Self::Classes(labels) => labels.len(),
            Self::Targets(labels) => labels.len(),
        }
    }
}

/// Examples that fit a run's `[input]`, with its preparation. Clients of a simulation share one and hold index lists.
#[derive(Clone)]
pub struct Dataset {
    what: String,
    shape: Vec<usize>,
    features: Features,
    labels: Labels,
    columns: Vec<String>,
    /// Which value of a column each example has, where one was asked for.
    groups: Option<Vec<u32>>,
    n_classes: usize,
    indices_below: Option<usize>,
    single: Scale<f32>,
    double: Scale<f64>,
}

impl Dataset {
    /// Examples of the source `what`; `columns` are the names of an example's values, none for images.
    ///
    /// # Errors
    /// No examples or too many, another number of values than the run's, values that are no indices where the model looks
    /// them up, labels that are not the run's kind or not below its number of classes.
    pub fn new(
        what: &str,
        input: &Input,
        features: Features,
        labels: Labels,
        columns: Vec<String>,
    ) -> Result<Self, Error> {
        let fail =
            |problem: String, hint: &str| Error::DoesNotFit { what: what.to_owned(), problem, hint: hint.to_owned() };
        let (rows, values) = (labels.len(), input.values());
        if rows == 0 || rows > EXAMPLES_MAX {
            let problem = format!("there are {rows} examples, from 1 to {EXAMPLES_MAX} can be used");
            return Err(fail(problem, "check that the source holds what you expect"));
        }
        if features.len() / rows != values || !features.len().is_multiple_of(rows) {
            let found = features.len() / rows;
            let problem = format!("an example has {found} values, `input.shape` {:?} has {values}", input.shape);
            return Err(fail(problem, "change `input.shape`, or drop columns of a table with `input.drop`"));
        }
        match (&labels, &input.classes) {
            (Labels::Classes(labels), Some(classes)) => {
                let count = classes.count();
                if let Some(row) = labels.iter().position(|&label| label as usize >= count) {
                    let problem = format!("the label of row {row} (counted from 0) is not below {count}");
                    return Err(fail(problem, "set `input.classes` to the number of classes, or correct the label"));
                }
            }
            (Labels::Targets(_), None) => {}
            (Labels::Classes(_), None) => {
                return Err(fail(
                    "its labels are classes, the run predicts a number".to_owned(),
                    "set `input.classes` in the run file",
                ));
            }
            (Labels::Targets(_), Some(_)) => {
                return Err(fail(
                    "its labels are numbers, the run predicts classes".to_owned(),
                    "remove `input.classes` from the run file",
                ));
            }
        }
        if let Some(below) = input.indices_below
            && let Some(at) = features.first_no_index(below)
        {
            let value = columns.get(at % values).map_or_else(|| (at % values).to_string(), |name| format!("`{name}`"));
            let problem = format!(
                "value {value} of row {} (counted from 0) is no whole number from 0 to {}, the rows of the embedding",
                at / values,
                below - 1
            );
            return Err(fail(problem, "raise `count` of the layer `embedding`, or correct the value"));
        }
        let n_classes = input.classes.as_ref().map_or(0, Classes::count);
        let (what, shape) = (what.to_owned(), input.shape.clone());
        let (single, double) = (Scale::of(input), Scale::of(input));
        Ok(Self {
            what,
            shape,
            features,
            labels,
            columns,
            groups: None,
            n_classes,
            indices_below: input.indices_below,
            single,
            double,
        })
    }

    /// The same examples, each with the group it belongs to.
    pub(super) fn grouped(mut self, groups: Vec<u32>) -> Self {
        assert_eq!(groups.len(), self.len(), "every example has its group");
        self.groups = Some(groups);
        self
    }

    /// The source, for messages.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Number of examples.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no example; never so, but a length asks for it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sizes of an example's dimensions.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of values of an example.
    #[must_use]
    pub fn values(&self) -> usize {
        self.shape.iter().product()
    }

    /// The names of an example's values; none for images.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// What is to be predicted.
    #[must_use]
    pub const fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The classes of all examples; none for regression.
    #[must_use]
    pub fn classes(&self) -> Option<&[u32]> {
        match &self.labels {
            Labels::Classes(labels) => Some(labels),
            Labels::Targets(_) => None,
        }
    }

    /// Number of classes of the run; 0 for regression.
    #[must_use]
    pub const fn n_classes(&self) -> usize {
        self.n_classes
    }

    /// What every value was found to be below, as a whole number; none where nobody asked.
    #[must_use]
    pub const fn indices_below(&self) -> Option<usize> {
        self.indices_below
    }

    /// The group of each example: values of one column of a table, numbered in the order of their bytes; none where no
    /// column was asked for.
    #[must_use]
    pub fn groups(&self) -> Option<&[u32]> {
        self.groups.as_deref()
    }

    /// The targets of all examples; none for classification.
    #[must_use]
    pub fn targets(&self) -> Option<&[f64]> {
        match &self.labels {
            Labels::Classes(_) => None,
            Labels::Targets(targets) => Some(targets),
        }
    }

    /// Writes the prepared values of these examples to `out`, one after the other, in single precision.
    pub fn gather_f32(&self, indices: &[u32], out: &mut [f32]) {
        self.gather(&self.single, indices, out);
    }

    /// Writes the prepared values of these examples to `out`, one after the other, in double precision.
    pub fn gather_f64(&self, indices: &[u32], out: &mut [f64]) {
        self.gather(&self.double, indices, out);
    }

    fn gather<T: Real>(&self, scale: &Scale<T>, indices: &[u32], out: &mut [T]) {
        let values = self.values();
        assert_eq!(out.len(), indices.len() * values, "every value has its place");
        let mut computed = match &self.features {
            Features::Clouds(_) => vec![0.0; values],
            Features::Bytes(_) | Features::Reals(_) => Vec::new(),
        };
        for (&index, out) in indices.iter().zip(out.chunks_exact_mut(values)) {
            let at = index as usize * values;
            match &self.features {
                Features::Bytes(stored) => scale.read_bytes(&stored[at..at + values], out),
                Features::Clouds(clouds) => {
                    let label = self.classes().map_or(0, |labels| labels[index as usize]);
                    clouds.read(index, label, &mut computed);
                    scale.read_reals(&computed, out);
                }
                Features::Reals(stored) => scale.read_reals(&stored[at..at + values], out),
            }
        }
    }

    /// Only these examples, in this order: what a client of its own keeps in memory.
    #[must_use]
    pub fn select(&self, indices: &[u32]) -> Self {
        let values = self.values();
        let rows = || indices.iter().map(|&index| index as usize);
        let features = match &self.features {
            Features::Bytes(stored) => {
                Features::Bytes(rows().flat_map(|row| &stored[row * values..][..values]).copied().collect())
            }
            Features::Clouds(clouds) => Features::Clouds(clouds.select(indices)),
            Features::Reals(stored) => {
                Features::Reals(rows().flat_map(|row| &stored[row * values..][..values]).copied().collect())
            }
        };
        let labels = match &self.labels {
            Labels::Classes(labels) => Labels::Classes(rows().map(|row| labels[row]).collect()),
            Labels::Targets(targets) => Labels::Targets(rows().map(|row| targets[row]).collect()),
        };
        Self {
            what: self.what.clone(),
            shape: self.shape.clone(),
            features,
            labels,
            columns: self.columns.clone(),
            groups: self.groups.as_ref().map(|groups| rows().map(|row| groups[row]).collect()),
            n_classes: self.n_classes,
            indices_below: self.indices_below,
            single: self.single.clone(),
            double: self.double.clone(),
        }
    }
}

/// Sizes only: examples are private.
impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dataset({}, {} examples of {:?})", self.what, self.len(), self.shape)
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Features({} values)", self.len())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Labels({})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::source::tests::input;

    #[test]
    fn examples_are_prepared_in_the_type_of_the_model() {
        let of = |text, features| {
            Dataset::new("x", &input(text), features, Labels::Classes(vec![0, 1]), Vec::new()).unwrap()
        };
        let set = of("shape = [2]\ndivide = 10\nclasses = 2", Features::Bytes(vec![0, 1, 3, 7]));
        let (mut single, mut double) = ([0.0; 4], [0.0; 4]);
        set.gather_f32(&[1, 0], &mut single);
        set.gather_f64(&[1, 0], &mut double);
        assert_eq!(single.map(f32::to_bits), [0.3_f32, 0.7, 0.0, 0.1].map(f32::to_bits));
        assert_eq!(double.map(f64::to_bits), [0.3_f64, 0.7, 0.0, 0.1].map(f64::to_bits));

        let text = "shape = [2]\ndivide = 2\nmean = [1, 2]\nstd = [2, 0.5]\nclasses = 2";
        for features in [Features::Bytes(vec![6, 5, 2, 4]), Features::Reals(vec![6.0, 5.0, 2.0, 4.0])] {
            let mut out = [0.0; 4];
            of(text, features).gather_f64(&[0, 1], &mut out);
            assert_eq!(out.map(f64::to_bits), [1.0_f64, 1.0, 0.0, 0.0].map(f64::to_bits));
        }
    }

    #[test]
    fn selected_examples_are_those_asked_for() {
        let features = Features::Reals(vec![1.0, 2.0, 3.0]);
        let set = Dataset::new("x", &input("shape = [1]"), features, Labels::Targets(vec![0.1, 0.2, 0.3]), Vec::new());
        let set = set.unwrap().select(&[2, 0, 2]);
        let mut out = [0.0; 3];
        set.gather_f32(&[0, 1, 2], &mut out);
        assert_eq!(out.map(f32::to_bits), [3.0_f32, 1.0, 3.0].map(f32::to_bits));
        assert_eq!(set.targets().unwrap().len(), 3);
        assert_eq!(format!("{set:?}"), "Dataset(x, 3 examples of [1])");
    }

    #[test]
    fn examples_that_do_not_fit_are_refused() {
        let classes = |labels: &[u32]| Labels::Classes(labels.to_vec());
        for (text, values, labels, expected) in [
            ("shape = [2]\nclasses = 2", 4, classes(&[0, 2]), "label of row 1 (counted from 0) is not below 2"),
            ("shape = [3]\nclasses = 2", 4, classes(&[0, 1]), "an example has 2 values, `input.shape` [3] has 3"),
            ("shape = [2]\nclasses = 2", 5, classes(&[0, 1]), "an example has 2 values"),
            ("shape = [2]\nclasses = 2", 0, classes(&[]), "there are 0 examples"),
            ("shape = [2]", 4, classes(&[0, 1]), "its labels are classes"),
            ("shape = [2]\nclasses = 2", 4, Labels::Targets(vec![0.0, 1.0]), "its labels are numbers"),
        ] {
            let error = Dataset::new("x", &input(text), Features::Bytes(vec![0; values]), labels, Vec::new());
            let error = error.unwrap_err();
            assert!(error.to_string().contains(expected) && error.hint().is_some(), "{error}");
        }
    }
    /// The embedding would read beyond its table. The value itself is private.
    #[test]
    fn values_that_are_no_indices_are_named_by_row_and_column_and_never_shown() {
        let mut input = input("shape = [2]\nclasses = 2");
        input.indices_below = Some(9);
        let of = |features, columns: &[&str]| {
            let columns = columns.iter().map(|&name| name.to_owned()).collect();
            Dataset::new("x", &input, features, Labels::Classes(vec![0, 1]), columns).map_err(|error| error.to_string())
        };
        let set = of(Features::Reals(vec![0.0, 8.0, 3.0, 1.0]), &[]).unwrap();
        assert_eq!(set.select(&[1]).indices_below(), Some(9));
        for wrong in [9.0, -1.0, 0.5, f32::NAN, 1e9] {
            let error = of(Features::Reals(vec![0.0, 8.0, wrong, 1.0]), &["a", "b"]).unwrap_err();
            assert!(error.contains("value `a` of row 1 (counted from 0) is no whole number from 0 to 8"), "{error}");
        }
        let error = of(Features::Bytes(vec![0, 77, 1, 1]), &[]).unwrap_err();
        assert!(error.contains("value 1 of row 0") && !error.contains("77"), "{error}");
    }
}
