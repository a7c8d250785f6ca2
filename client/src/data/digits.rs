//! `digits`: handwritten digits, built in, so that the first run needs nothing but this program.

use std::io::Read;

use flate2::read::GzDecoder;
use tributary_common::model::Input;

use super::{Dataset, Error, Features, Labels, Loaded, SourceRow};

pub(super) const ROW: SourceRow = SourceRow {
    name: "digits",
    argument: None,
    help: "1797 handwritten digits of 8 x 8 pixels from 0 to 16, 10 classes, built in (UCI, CC BY 4.0)",
    check: |_| Ok(()),
    load: |_, input, _| load(input),
};

/// See `README.md` beside it for where it comes from and its licence.
const FILE: &[u8] = include_bytes!("digits.csv.gz");

fn load(input: &Input) -> Result<Loaded, Error> {
    let mut text = String::new();
    GzDecoder::new(FILE).read_to_string(&mut text).expect("the built-in file is whole: a test reads it");
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let (values, label) = line.rsplit_once(',').expect("a built-in row has columns");
        let number = |text: &str| text.parse::<u8>().expect("a built-in value is a small number");
        pixels.extend(values.split(',').map(number));
        labels.push(u32::from(number(label)));
    }
    let train = Dataset::new("`digits`", input, Features::Bytes(pixels), Labels::Classes(labels), Vec::new())?;
    Ok(Loaded { train, test: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::source::tests::input;
    use crate::data::{Source, TestRows};
    use std::path::Path;

    #[test]
    fn digits_split_into_the_documented_rows() {
        let input = input("shape = [64]\ndivide = 16\nclasses = 10");
        let loaded = Source::parse("digits").unwrap().load(Path::new(""), &input, None).unwrap();
        let all = loaded.train.clone();
        let (train, test) = loaded.split(TestRows::Every(5)).unwrap();
        let test = test.unwrap();
        assert_eq!((all.len(), train.len(), test.len()), (1797, 1437, 360));
        assert_eq!(train.classes().unwrap()[..6], [1, 2, 3, 4, 6, 7]);
        assert_eq!(test.classes().unwrap()[..3], [0, 5, 0]);
        let mut first = vec![0.0; 64];
        test.gather_f64(&[0], &mut first);
        assert_eq!(first[..6].iter().map(|x| x * 16.0).collect::<Vec<_>>(), [0.0, 0.0, 5.0, 13.0, 9.0, 1.0]);
    }

    #[test]
    fn digits_that_do_not_fit_are_refused() {
        let load = |text| load(&input(text)).unwrap_err().to_string();
        assert!(load("shape = [784]\nclasses = 10").contains("an example has 64 values"));
        assert!(load("shape = [8, 8]\nclasses = 9").contains("is not below 9"));
        let loaded = super::load(&input("shape = [1, 8, 8]\nclasses = 10")).unwrap();
        assert!(loaded.split(TestRows::Source).unwrap_err().hint().is_some());
    }
}
