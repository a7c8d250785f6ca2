//! `synthetic:EXAMPLES`: Gaussian clouds, one for each class, computed whenever they are read.
//!
//! It measures and tests what does not depend on real data: populations of any size, shapes of any kind. Nothing is kept of
//! an example but its label, so ten million images take no more memory than their labels, four bytes each.

use std::fmt;
use std::sync::Arc;

use tributary_common::id::{Round, Seed};
use tributary_common::model::{Classes, Input};
use tributary_common::rng::{self, Purpose};

use super::{Dataset, EXAMPLES_MAX, Error, Features, Labels, Loaded, SourceRow};

pub(super) const ROW: SourceRow = SourceRow {
    name: "synthetic",
    argument: Some("EXAMPLES"),
    help: "one Gaussian cloud for each class in the run's own shape, computed as they are read; \
           EXAMPLES[,test=N][,separation=4][,seed=0]",
    check: |text| Options::parse(text).map(drop),
    load: |place, input, _| load(place.argument, input),
};

/// The most values of all clouds' centres together: 256 MiB.
pub const CENTRE_VALUES_MAX: usize = 1 << 26;

/// The farthest that centres may lie from each other, in standard deviations of a cloud.
const SEPARATION_MAX: f32 = 1e6;

/// What follows the colon.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Options {
    /// Training examples.
    examples: usize,
    /// Test examples of the source itself.
    test: usize,
    /// Expected distance between the centres of two classes, in standard deviations of a cloud.
    separation: f32,
    seed: Seed,
}

impl Options {
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',').map(str::trim);
        let examples = count("the number of examples", parts.next().unwrap_or_default())?;
        if examples == 0 {
            return Err("it needs at least one example".to_owned());
        }
        let mut options = Self { examples, test: 0, separation: 4.0, seed: Seed(0) };
        for part in parts {
            match part.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
                Some(("test", value)) => options.test = count("test", value)?,
                Some(("separation", value)) => {
                    let separation = value.parse().ok().filter(|far| (0.0..=SEPARATION_MAX).contains(far));
                    options.separation = separation
                        .ok_or_else(|| format!("separation is a number from 0 to {SEPARATION_MAX}, found `{value}`"))?;
                }
                Some(("seed", value)) => {
                    let seed = value.parse().map_err(|_| format!("seed is a whole number, found `{value}`"))?;
                    options.seed = Seed(seed);
                }
                _ => return Err(format!("it knows test, separation and seed, found `{part}`")),
            }
        }
        if options.examples.checked_add(options.test).is_none_or(|all| all > EXAMPLES_MAX) {
            return Err(format!("training and test examples together are at most {EXAMPLES_MAX}"));
        }
        Ok(options)
    }
}

fn count(what: &str, text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|&number| number <= EXAMPLES_MAX);
    number.ok_or_else(|| format!("{what} is a whole number up to {EXAMPLES_MAX}, found `{text}`"))
}

fn load(text: &str, input: &Input) -> Result<Loaded, Error> {
    let what = format!("`synthetic:{text}`");
    let fail = |problem: String, hint: &str| Error::DoesNotFit { what: what.clone(), problem, hint: hint.to_owned() };
    let options = Options::parse(text).map_err(|problem| fail(problem, "write synthetic:EXAMPLES"))?;
    let Some(classes) = input.classes.as_ref().map(Classes::count) else {
        return Err(fail("its labels are classes".to_owned(), "set `input.classes` in the run file"));
    };
    if input.indices_below.is_some() {
        let problem = "its values are real numbers, an embedding looks up whole ones".to_owned();
        return Err(fail(problem, "take data of whole numbers, such as csv:, or begin the model with another layer"));
    }
    if input.values().saturating_mul(classes) > CENTRE_VALUES_MAX {
        let problem = format!("the centres of {classes} classes have more than {CENTRE_VALUES_MAX} values");
        return Err(fail(problem, "use fewer classes or a smaller `input.shape`"));
    }
    let centres = centres(options, classes, input.values());
    // Drawn in the order of rows, so more examples of the same seed begin with the same ones.
    let mut stream = rng::stream(options.seed, Round(0), None, Purpose::ExampleLabels);
    let mut label = || u32::try_from(stream.below(classes as u64)).expect("classes are counted in 32 bits");
    let mut part = |first: usize, count: usize| {
        let labels = Labels::Classes((0..count).map(|_| label()).collect());
        let rows = Rows::From(u32::try_from(first).expect("rows were counted in 32 bits"));
        let clouds = Clouds { centres: Arc::clone(&centres), values: input.values(), seed: options.seed, rows, count };
        Dataset::new(&what, input, Features::Clouds(clouds), labels, Vec::new())
    };
    let train = part(0, options.examples)?;
    let test = if options.test == 0 { None } else { Some(part(options.examples, options.test)?) };
    Ok(Loaded { train, test })
}

/// One centre for each class, normal in every value and scaled so that two of them are expected `separation` apart: the
/// distance of two standard normal points in d dimensions is √(2 d).
fn centres(options: Options, classes: usize, values: usize) -> Arc<[f32]> {
    let mut stream = rng::stream(options.seed, Round(0), None, Purpose::ExampleCentres);
    #[expect(clippy::cast_precision_loss, reason = "values are counted in 26 bits")]
    let scale = f64::from(options.separation) / libm::sqrt(2.0 * values as f64);
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the stored type is the purpose")]
    let value = |normal: f64| (scale * normal) as f32;
    (0..classes * values).map(|_| value(stream.normal())).collect()
}

/// Examples that are computed when they are read: the centre of their class and noise of their own.
#[derive(Clone)]
pub struct Clouds {
    centres: Arc<[f32]>,
    /// Of an example.
    values: usize,
    seed: Seed,
    rows: Rows,
    /// Of examples.
    count: usize,
}

/// Which rows of the endless table of a seed these are.
#[derive(Clone)]
enum Rows {
    From(u32),
    These(Arc<[u32]>),
}

impl Clouds {
    pub(super) const fn len(&self) -> usize {
        self.count * self.values
    }

    /// Only these examples; four bytes each are kept.
    pub(super) fn select(&self, indices: &[u32]) -> Self {
        let rows = Rows::These(indices.iter().map(|&index| self.row(index)).collect());
        Self { rows, count: indices.len(), centres: Arc::clone(&self.centres), ..*self }
    }

    fn row(&self, index: u32) -> u32 {
        match &self.rows {
            Rows::From(first) => first + index,
            Rows::These(rows) => rows[index as usize],
        }
    }

    /// Writes the values of example `index` of class `label`.
    ///
    /// The noise is the sum of four uniform 16-bit numbers, brought to mean 0 and variance 1: close to normal by the central
    /// limit theorem (it ends at 3.46 standard deviations), a tenth of the cost of the normal distribution, and the same on
    /// every platform, for all but the last product is done on integers.
    pub(super) fn read(&self, index: u32, label: u32, out: &mut [f32]) {
        /// Four times the mean of a uniform 16-bit number, 65,535 / 2.
        const MEAN: i32 = 131_070;
        /// One over the root of 4 · (2^32 − 1) / 12, four times the variance of a uniform 16-bit number.
        const SCALE: f32 = 1.0 / 37_837.227;
        let centre = &self.centres[label as usize * self.values..][..self.values];
        let mut stream = rng::stream(self.seed, Round(0), None, Purpose::ExampleNoise(self.row(index)));
        for (out, centre) in out.iter_mut().zip(centre) {
            let [a, b, c, d, e, f, g, h] = stream.next_u64().to_le_bytes();
            let pairs = [[a, b], [c, d], [e, f], [g, h]].map(|pair| i32::from(u16::from_le_bytes(pair)));
            let sum: i32 = pairs.iter().sum();
            #[expect(clippy::cast_precision_loss, reason = "the sum has 18 bits, which a float holds exactly")]
            let noise = (sum - MEAN) as f32 * SCALE;
            *out = centre + noise;
        }
    }
}

/// Sizes only, as of all examples.
impl fmt::Debug for Clouds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clouds({} examples of {} values)", self.count, self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::source::tests::input;
    use crate::data::{Source, TestRows};
    use std::path::Path;

    fn loaded(text: &str) -> Loaded {
        let input = input("shape = [5]\nclasses = 3");
        Source::parse(text).unwrap().load(Path::new(""), &input, None).unwrap()
    }

    fn read(set: &Dataset, index: u32) -> [u32; 5] {
        let mut out = [0.0; 5];
        set.gather_f32(&[index], &mut out);
        out.map(f32::to_bits)
    }

    /// Without it a changed generator silently changes every result on synthetic data.
    #[test]
    fn first_example_is_pinned() {
        let set = loaded("synthetic:3").train;
        let mut out = [0.0; 5];
        set.gather_f32(&[0], &mut out);
        assert_eq!(set.classes().unwrap(), PINNED_LABELS);
        assert_eq!(out.map(f32::to_bits), PINNED.map(f32::to_bits), "{out:?}");
    }
    const PINNED_LABELS: [u32; 3] = [2, 1, 0];
    const PINNED: [f32; 5] = [1.092_839_6, 1.149_114_8, 0.094_796_06, -1.260_271_7, -2.257_044];

    #[test]
    fn rows_keep_their_values_however_they_are_counted_and_selected() {
        let all = loaded("synthetic:40,seed=7").train;
        let Loaded { train, test } = loaded("synthetic:30,test=10,seed=7");
        let test = test.unwrap();
        assert_eq!((train.len(), test.len()), (30, 10));
        assert_eq!((read(&all, 29), read(&all, 34)), (read(&train, 29), read(&test, 4)));
        assert_eq!(all.classes().unwrap()[34], test.classes().unwrap()[4]);
        let (kept, held) = Loaded { train: all.clone(), test: None }.split(TestRows::Every(5)).unwrap();
        assert_eq!((read(&held.unwrap(), 2), read(&kept, 4)), (read(&all, 10), read(&all, 6)));
        assert_eq!(read(&all.select(&[9, 3]).select(&[1]), 0), read(&all, 3));
        assert_ne!(read(&loaded("synthetic:1,seed=8").train, 0), read(&all, 0));
    }

    #[test]
    fn an_embedding_is_told_that_clouds_are_no_indices() {
        let mut input = input("shape = [5]\nclasses = 3");
        input.indices_below = Some(10);
        let error = Source::parse("synthetic:3").unwrap().load(Path::new(""), &input, None).unwrap_err();
        assert!(error.to_string().contains("an embedding looks up whole ones"), "{error}");
    }

    #[test]
    fn clouds_have_the_spread_and_the_distance_that_they_promise() {
        let input = input("shape = [400]\nclasses = 2");
        let set =
            Source::parse("synthetic:2000,separation=6").unwrap().load(Path::new(""), &input, None).unwrap().train;
        let mut sums = [vec![0.0; 400], vec![0.0; 400]];
        let mut counts = [0.0; 2];
        let (mut example, mut squares) = (vec![0.0; 400], 0.0);
        for (row, &class) in (0..).zip(set.classes().unwrap()) {
            set.gather_f64(&[row], &mut example);
            counts[class as usize] += 1.0;
            sums[class as usize].iter_mut().zip(&example).for_each(|(sum, x)| *sum += x);
            squares += example.iter().map(|x| x * x).sum::<f64>();
        }
        assert!((counts[0] - 1000.0_f64).abs() < 112.0, "five standard deviations of Binomial(2000, 1/2)");
        let means: [Vec<f64>; 2] = [0, 1].map(|class| sums[class].iter().map(|sum| sum / counts[class]).collect());
        let within: f64 = (0..2).map(|k| counts[k] * means[k].iter().map(|mean| mean * mean).sum::<f64>()).sum();
        // 800,000 values of a distribution with kurtosis below 3: the mean square is within 0.01 by far.
        assert!(((squares - within) / 800_000.0 - 1.0).abs() < 0.01);
        let apart: f64 = means[0].iter().zip(&means[1]).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
        // √(36 ± noise of the means, 400 · 2 / 1000) and the centres' own spread of 6 / √(2 · 400) · √2.
        assert!((apart - 6.0).abs() < 1.0, "{apart}");
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        for (text, expected) in [
            ("0", "at least one example"),
            ("many", "found `many`"),
            ("10,test=x", "test is a whole number"),
            ("10,separation=-1", "from 0 to 1000000"),
            ("10,separation=nan", "from 0 to 1000000"),
            ("10,sed=1", "it knows test, separation and seed, found `sed=1`"),
            ("10,seed", "found `seed`"),
            ("4294967296", "up to 4294967295"),
            ("4294967295,test=1", "together are at most 4294967295"),
        ] {
            let error = Source::parse(&format!("synthetic:{text}")).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        Options::parse("4294967294,test=1").unwrap();
        let fails = |text| load("5", &input(text)).unwrap_err().to_string();
        assert!(fails("shape = [5]").contains("its labels are classes"));
        assert!(fails("shape = [67108864]\nclasses = 2").contains("more than 67108864 values"));
    }
}
