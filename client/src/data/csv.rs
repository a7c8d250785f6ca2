//! `csv:FILE`: a table with a header, numbers, and one column to predict.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Trim};
use flate2::read::MultiGzDecoder;
use tributary_common::model::{Classes, Input};
use tributary_common::registry::closest;

use super::{Dataset, EXAMPLES_MAX, Error, FILE_BYTES_MAX, Features, Labels, Loaded, SourceRow};

pub(super) const ROW: SourceRow = SourceRow {
    name: "csv",
    argument: Some("FILE"),
    help: "a table with a header line and numbers; input.label names the column to predict, input.drop those to leave out",
    check: |_| Ok(()),
    load: |place, input, group| load(&place.path(), input, group),
};

/// What stands for a value that nobody knows.
const MISSING: [&str; 7] = ["", "?", "n/a", "na", "nan", "none", "null"];

fn load(file: &Path, input: &Input, group: Option<&str>) -> Result<Loaded, Error> {
    let bytes = open(file).map_err(|source| Error::FileUnreadable { file: file.to_owned(), source })?;
    let bytes = bytes.take(FILE_BYTES_MAX + 1);
    // Rows of other lengths are refused here rather than by the reader, so that the message can name the line's column.
    let mut reader = ReaderBuilder::new().flexible(true).trim(Trim::All).from_reader(bytes);
    let header = reader.headers().map_err(|error| unparsable(file, error))?.clone();
    let columns = Columns::of(file, &header, input, group)?;
    let mut table = Table { file, columns, input, values: Vec::new(), labels: Vec::new(), groups: Groups::default() };
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| unparsable(file, error))? {
        table.push(&record)?;
    }
    if reader.position().byte() > FILE_BYTES_MAX {
        return Err(Error::FileTooLarge { file: file.to_owned() });
    }
    table.finish()
}

fn open(file: &Path) -> io::Result<Box<dyn BufRead>> {
    let raw = BufReader::new(File::open(file)?);
    let gzipped = file.extension().is_some_and(|extension| extension == "gz");
    Ok(if gzipped { Box::new(BufReader::new(MultiGzDecoder::new(raw))) } else { Box::new(raw) })
}

/// The line of the record at `position`, counted from 1. The reader's own count stops at the end of the record before,
/// which is wrong after empty lines; so the file is read again up to there, once, for the message.
fn line(file: &Path, position: Option<&csv::Position>) -> String {
    let count = |at: u64| -> io::Result<u64> {
        let mut bytes = open(file)?.bytes();
        let mut line = 1;
        for byte in bytes.by_ref().take(usize::try_from(at).unwrap_or(usize::MAX)) {
            line += u64::from(byte? == b'\n');
        }
        for byte in bytes {
            match byte? {
                b'\n' => line += 1,
                b'\r' => {}
                _ => break,
            }
        }
        Ok(line)
    };
    match position.map(|position| count(position.byte())) {
        Some(Ok(line)) => format!("line {line}"),
        Some(Err(_)) | None => "a line".to_owned(),
    }
}

/// The reader's own complaint: unreadable, or not text. Its message is not passed on, for it may quote the file.
fn unparsable(file: &Path, error: csv::Error) -> Error {
    let place = line(file, error.position());
    match error.into_kind() {
        csv::ErrorKind::Io(source) => Error::FileUnreadable { file: file.to_owned(), source },
        _ => Error::RowBroken {
            file: file.to_owned(),
            place,
            problem: "it is not UTF-8 text".to_owned(),
            hint: "save the table as UTF-8".to_owned(),
        },
    }
}

/// Which column is what.
struct Columns {
    names: Vec<String>,
    label: usize,
    values: Vec<usize>,
    group: Option<usize>,
}

impl Columns {
    fn of(file: &Path, header: &StringRecord, input: &Input, group: Option<&str>) -> Result<Self, Error> {
        let broken = |problem: String, hint: String| Error::FileBroken { file: file.to_owned(), problem, hint };
        let names: Vec<String> = header.iter().map(str::to_owned).collect();
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        if names.len() < 2 {
            let problem = format!("its header has {} columns, at least 2 are needed", names.len());
            return Err(broken(problem, "separate columns by commas and name them in the first line".to_owned()));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = known.iter().find(|name| !seen.insert(**name)) {
            return Err(broken(format!("its header has the column `{twice}` twice"), "rename one of them".to_owned()));
        }
        if known.iter().all(|name| name.parse::<f64>().is_ok()) {
            let problem = "its first line holds numbers instead of names".to_owned();
            return Err(broken(problem, "add a header line with the names of the columns".to_owned()));
        }
        let find = |name: &str, key: &str| {
            known.iter().position(|known| *known == name).ok_or_else(|| {
                let near = closest(name, &known).map_or_else(String::new, |near| format!("did you mean `{near}`? "));
                let hint = format!("{near}correct `{key}` in the run file, or the header");
                broken(format!("it has no column `{name}`"), hint)
            })
        };
        let label = match &input.label {
            Some(name) => find(name, "input.label")?,
            None => names.len() - 1,
        };
        let dropped = input.drop.iter().map(|name| find(name, "input.drop")).collect::<Result<BTreeSet<_>, _>>()?;
        let group = group.map(|name| find(name, "data.partition.column")).transpose()?;
        let values: Vec<usize> = (0..names.len()).filter(|at| *at != label && !dropped.contains(at)).collect();
        if values.len() != input.values() {
            let listed: Vec<_> = values.iter().take(20).map(|&at| known[at]).collect();
            let more = if values.len() > listed.len() { ", …" } else { "" };
            return Err(Error::DoesNotFit {
                what: format!("`{}`", file.display()),
                problem: format!(
                    "the columns left to feed the model are {} ({}{more}), `input.shape` {:?} has {} values",
                    values.len(),
                    listed.join(", "),
                    input.shape,
                    input.values()
                ),
                hint: "change `input.shape`, or leave columns out with `input.drop`".to_owned(),
            });
        }
        Ok(Self { names, label, values, group })
    }
}

/// The rows that were read so far.
struct Table<'a> {
    file: &'a Path,
    columns: Columns,
    input: &'a Input,
    values: Vec<f32>,
    labels: Vec<f64>,
    groups: Groups,
}

/// The values of one column, numbered as they came.
#[derive(Default)]
struct Groups {
    names: HashMap<String, u32>,
    of: Vec<u32>,
}

impl Groups {
    fn push(&mut self, name: &str) {
        let next = u32::try_from(self.names.len()).expect("not more groups than EXAMPLES_MAX rows");
        let group = self.names.get(name).copied().unwrap_or_else(|| {
            self.names.insert(name.to_owned(), next);
            next
        });
        self.of.push(group);
    }

    /// The group of each row, numbered in the order of the names' bytes.
    fn sorted(self) -> Vec<u32> {
        let mut names: Vec<(String, u32)> = self.names.into_iter().collect();
        names.sort_unstable();
        let mut numbers = vec![0; names.len()];
        for (number, (_, came)) in (0..).zip(&names) {
            numbers[*came as usize] = number;
        }
        self.of.into_iter().map(|came| numbers[came as usize]).collect()
    }
}

impl Table<'_> {
    fn push(&mut self, record: &StringRecord) -> Result<(), Error> {
        let expected = self.columns.names.len();
        if record.len() != expected {
            let (place, problem) =
                (line(self.file, record.position()), format!("{} columns, the header has {expected}", record.len()));
            return Err(self.fail(place, problem, "complete the row, or quote values that hold a comma"));
        }
        if self.labels.len() == EXAMPLES_MAX {
            return Err(Error::FileTooLarge { file: self.file.to_owned() });
        }
        for &at in &self.columns.values {
            let value = self.number(record, at)?;
            #[expect(clippy::cast_possible_truncation, reason = "tables are held in single precision")]
            let stored = value as f32;
            if !stored.is_finite() {
                return Err(self.wrong(record, at, "the number is beyond single precision", "scale the column"));
            }
            self.values.push(stored);
        }
        let label = self.label(record)?;
        self.labels.push(label);
        if let Some(at) = self.columns.group {
            if is_missing(&record[at]) {
                return Err(self.wrong(record, at, "the value is missing", "name the group of every row"));
            }
            self.groups.push(&record[at]);
        }
        Ok(())
    }

    /// The class, or the target, of a row.
    fn label(&self, record: &StringRecord) -> Result<f64, Error> {
        let at = self.columns.label;
        let Some(classes) = &self.input.classes else { return self.number(record, at) };
        if let Classes::Names(names) = classes
            && let Some(class) = names.iter().position(|name| *name == record[at])
        {
            return Ok(f64::from(u32::try_from(class).expect("classes are limited")));
        }
        let hint = "correct the label, or `input.classes` in the run file";
        let named = match classes {
            Classes::Count(count) => format!("the label is no whole number from 0 to {}", count - 1),
            Classes::Names(names) => format!("the label is none of the {} names of `input.classes`", names.len()),
        };
        match record[at].parse::<f64>() {
            #[expect(clippy::cast_precision_loss, reason = "the number of classes is limited")]
            Ok(class) if class >= 0.0 && class.fract() == 0.0 && class < classes.count() as f64 => Ok(class),
            Ok(_) => Err(self.wrong(record, at, &named, hint)),
            Err(_) if is_missing(&record[at]) => {
                Err(self.number(record, at).expect_err("a missing value is no number"))
            }
            Err(_) => Err(self.wrong(record, at, &named, hint)),
        }
    }

    /// The finite number in column `at`.
    fn number(&self, record: &StringRecord, at: usize) -> Result<f64, Error> {
        if is_missing(&record[at]) {
            let hint = "fill the value in, remove the row, or leave the column out with `input.drop`";
            return Err(self.wrong(record, at, "the value is missing", hint));
        }
        match record[at].parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            Ok(_) => Err(self.wrong(record, at, "the number is not finite", "replace it by a finite one")),
            Err(_) => {
                let hint = "write a number with a decimal point, or leave the column out with `input.drop`";
                Err(self.wrong(record, at, "the value is not a number", hint))
            }
        }
    }

    fn wrong(&self, record: &StringRecord, at: usize, problem: &str, hint: &str) -> Error {
        let place = format!("{}, column `{}`", line(self.file, record.position()), self.columns.names[at]);
        self.fail(place, problem.to_owned(), hint)
    }

    fn fail(&self, place: String, problem: String, hint: &str) -> Error {
        Error::RowBroken { file: self.file.to_owned(), place, problem, hint: hint.to_owned() }
    }

    fn finish(self) -> Result<Loaded, Error> {
        let labels = if self.input.classes.is_some() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and below the classes")]
            Labels::Classes(self.labels.into_iter().map(|label| label as u32).collect())
        } else {
            Labels::Targets(self.labels)
        };
        let Columns { mut names, values, group, .. } = self.columns;
        let names = values.iter().map(|&at| std::mem::take(&mut names[at])).collect();
        let what = format!("`{}`", self.file.display());
        let train = Dataset::new(&what, self.input, Features::Reals(self.values), labels, names)?;
        let train = if group.is_some() { train.grouped(self.groups.sorted()) } else { train };
        Ok(Loaded { train, test: None })
    }
}

fn is_missing(value: &str) -> bool {
    MISSING.iter().any(|missing| value.eq_ignore_ascii_case(missing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::source::tests::input;

    fn read(text: &str, options: &str) -> Result<Dataset, (String, String)> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("table.csv");
        std::fs::write(&file, text).unwrap();
        let result = load(&file, &input(options), None).map(|loaded| loaded.train);
        result.map_err(|error| (error.to_string(), error.hint().unwrap()))
    }

    #[test]
    fn columns_are_found_by_name_and_dropped() {
        let text = "id,kind, a ,b\n7,yes, 1.5,-2e1\n\n8,no,\"0\",3\n";
        let options = "shape = [2]\nclasses = ['no', 'yes']\nlabel = 'kind'\ndrop = ['id']";
        let set = read(text, options).unwrap();
        assert_eq!((set.len(), set.columns()), (2, &["a".to_owned(), "b".to_owned()][..]));
        assert_eq!(set.classes().unwrap(), [1, 0]);
        let mut out = [0.0; 4];
        set.gather_f64(&[0, 1], &mut out);
        assert_eq!(out.map(f64::to_bits), [1.5_f64, -20.0, 0.0, 3.0].map(f64::to_bits));
    }

    #[test]
    fn last_column_is_the_label_and_may_be_a_number_or_an_index() {
        let set = read("a,y\n1,2.5\n3,-1\n", "shape = [1]").unwrap();
        assert_eq!(
            set.targets().unwrap().iter().map(|t| t.to_bits()).collect::<Vec<_>>(),
            [2.5_f64.to_bits(), (-1.0_f64).to_bits()]
        );
        let set = read("a,y\n1,2\n3,0.0\n", "shape = [1]\nclasses = 3").unwrap();
        assert_eq!(set.classes().unwrap(), [2, 0]);
        let set = read("a,y\n1,1\n3,no\n", "shape = [1]\nclasses = ['no', 'yes']").unwrap();
        assert_eq!(set.classes().unwrap(), [1, 0]);
    }

    #[test]
    fn wrong_values_are_named_by_line_and_column_and_never_shown() {
        let classes = "shape = [1]\nclasses = 3";
        for (text, options, expected) in [
            ("a,y\n1,2\n,1\n", classes, "line 3, column `a`: the value is missing"),
            ("a,y\n1,2\nNaN,1\n", classes, "line 3, column `a`: the value is missing"),
            ("a,y\n1,2\nNA,1\n", classes, "line 3, column `a`: the value is missing"),
            ("a,y\nsecret,1\n", classes, "line 2, column `a`: the value is not a number"),
            ("a,y\n-inf,1\n", classes, "line 2, column `a`: the number is not finite"),
            ("a,y\n1e300,1\n", classes, "line 2, column `a`: the number is beyond single precision"),
            ("a,y\n1,2\n\n1,3\n", classes, "line 4, column `y`: the label is no whole number from 0 to 2"),
            ("a,y\r\n1,2\r\n\r\n1,2\r\n1,3", classes, "line 5, column `y`: the label"),
            ("a,y\n1,0.5\n", classes, "the label is no whole number from 0 to 2"),
            ("a,y\n1,-1\n", classes, "the label is no whole number from 0 to 2"),
            ("a,y\n1,\n", classes, "line 2, column `y`: the value is missing"),
            ("a,y\n1,secret\n", "shape = [1]\nclasses = ['x', 'z']", "none of the 2 names of `input.classes`"),
            ("a,y\n1,x\n", "shape = [1]", "line 2, column `y`: the value is not a number"),
            ("a,y\n1,2\n1\n", classes, "line 3: 1 columns, the header has 2"),
            ("a,y\n1,2,3\n", classes, "line 2: 3 columns, the header has 2"),
        ] {
            let (error, _) = read(text, options).unwrap_err();
            assert!(error.contains("table.csv`") && error.contains(expected), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn wrong_headers_say_what_to_do() {
        for (text, options, problem, hint) in [
            ("", "shape = [1]", "header has 0 columns", "name them in the first line"),
            ("a\n1\n", "shape = [1]", "header has 1 columns", "separate columns by commas"),
            ("a,a\n1,2\n", "shape = [1]", "the column `a` twice", "rename"),
            ("1,2\n1,2\n", "shape = [1]", "numbers instead of names", "add a header line"),
            ("age,y\n1,2\n", "shape = [1]\nlabel = 'x'", "no column `x`", "correct `input.label`"),
            ("age,y\n1,2\n", "shape = [1]\ndrop = ['agee']", "no column `agee`", "did you mean `age`?"),
            ("a,b,y\n1,2,3\n", "shape = [1]", "the columns left to feed the model are 2 (a, b)", "`input.drop`"),
            ("a,y\n", "shape = [1]", "there are 0 examples", "check"),
        ] {
            let (error, found) = read(text, options).unwrap_err();
            assert!(error.contains(problem) && found.contains(hint), "{error}: {found}");
        }
        let error = load(Path::new("/nowhere/x.csv"), &input("shape = [1]"), None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "could not read data file `/nowhere/x.csv`: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn rows_are_grouped_by_a_column_in_the_order_of_its_values() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sites.csv");
        let load = |text: &str, column| {
            std::fs::write(&file, text).unwrap();
            load(&file, &input("shape = [1]\ndrop = ['site']"), Some(column)).map_err(|error| error.to_string())
        };
        let set = load("site,a,y\nwest,1,1\neast,2,2\nwest,3,3\n", "site").unwrap().train;
        assert_eq!(set.groups().unwrap(), [1, 0, 1]);
        assert_eq!(set.select(&[1, 2]).groups().unwrap(), [0, 1]);
        assert!(load("site,a,y\n,1,1\n", "site").unwrap_err().contains("line 2, column `site`: the value is missing"));
        assert!(load("site,a,y\nx,1,1\n", "sites").unwrap_err().contains("it has no column `sites`"));
    }

    #[test]
    fn text_that_is_not_utf8_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("latin.csv");
        std::fs::write(&file, b"a,y\n1,2\n\xe9,1\n").unwrap();
        let error = load(&file, &input("shape = [1]"), None).unwrap_err().to_string();
        assert!(error.contains("line 3: it is not UTF-8 text"), "{error}");
    }
}
