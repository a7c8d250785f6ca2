//! Where examples come from: `digits`, `idx:DIR`, `csv:FILE`, `synthetic:EXAMPLES`.

use std::path::{Path, PathBuf};

use tributary_common::model::Input;
use tributary_common::registry::closest;

use super::{Dataset, Error, TestRows, csv, digits, idx, synthetic};

/// One kind of source.
#[derive(Debug)]
pub struct SourceRow {
    /// As typed before the colon.
    pub name: &'static str,
    /// What follows the colon; nothing for built-in data.
    pub argument: Option<&'static str>,
    /// One line for `tributary list`.
    pub help: &'static str,
    /// What is wrong with what follows the colon, as far as the text alone tells.
    pub check: fn(&str) -> Result<(), String>,
    /// Reads the examples; see [`Source::load`].
    pub load: fn(&Place<'_>, &Input, Option<&str>) -> Result<Loaded, Error>,
}

/// What follows the colon, and where a relative path begins.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// As typed; empty for built-in data.
    pub argument: &'a str,
    /// The run file's folder, or that of the process.
    pub base: &'a Path,
}

impl Place<'_> {
    /// Where the examples lie, for a source of files.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.base.join(self.argument)
    }
}

/// Every kind of source, by name.
pub const SOURCES: &[SourceRow] = &[csv::ROW, digits::ROW, idx::ROW, synthetic::ROW];

/// What a source holds.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its examples, in file order.
    pub train: Dataset,
    /// The source's own test files, where it has some.
    pub test: Option<Dataset>,
}

impl Loaded {
    /// Training and test examples by the run file's `data.test`.
    ///
    /// # Errors
    /// The source's own test files are asked for and it has none, or a part would be empty.
    pub fn split(self, rule: TestRows) -> Result<(Dataset, Option<Dataset>), Error> {
        match rule {
            TestRows::Every(every) => {
                let (test, train): (Vec<u32>, Vec<u32>) = (0..u32::try_from(self.train.len())
                    .expect("at most EXAMPLES_MAX"))
                    .partition(|row| row % every == 0);
                if train.is_empty() {
                    return Err(Error::DoesNotFit {
                        what: self.train.what().to_owned(),
                        problem: "all of its examples would be test rows".to_owned(),
                        hint: "raise `data.test.every`, or bring more examples".to_owned(),
                    });
                }
                Ok((self.train.select(&train), Some(self.train.select(&test))))
            }
            TestRows::None => Ok((self.train, None)),
            TestRows::Source => match self.test {
                Some(test) => Ok((self.train, Some(test))),
                None => Err(Error::TestMissing { what: self.train.what().to_owned() }),
            },
        }
    }
}

/// A source that was named.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    row: &'static SourceRow,
    argument: &'a str,
}

impl<'a> Source<'a> {
    /// The source that `text` names.
    ///
    /// # Errors
    /// An unknown kind, or a path missing or too many.
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        let (name, argument) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
        let fail = |problem: &str, hint: String| Error::SourceUnknown {
            source_text: text.to_owned(),
            problem: problem.to_owned(),
            hint,
        };
        let Some(row) = SOURCES.iter().find(|row| row.name == name) else {
            let names: Vec<_> = SOURCES.iter().map(|row| row.name).collect();
            let near = closest(name, &names).map_or_else(String::new, |near| format!("did you mean `{near}`? "));
            let hint = format!("{near}`tributary list sources` prints all of them");
            return Err(fail("there is no such kind of source", hint));
        };
        let argument = match (row.argument, argument) {
            (None, None) => "",
            (Some(_), Some(argument)) if !argument.is_empty() => argument,
            (Some(wanted), _) => {
                return Err(fail("what follows the colon is missing", format!("write {name}:{wanted}")));
            }
            (None, Some(_)) => return Err(fail("it is built in and takes no path", format!("write {name}"))),
        };
        match (row.check)(argument) {
            Ok(()) => Ok(Self { row, argument }),
            Err(problem) => Err(fail(&problem, format!("`tributary list sources` shows how `{name}` is written"))),
        }
    }

    /// Reads the examples; a relative path begins at `base`. With `group`, examples of a table are also grouped by the
    /// values of that column, for the partition `natural`; sources without columns ignore it.
    ///
    /// # Errors
    /// Files missing or broken, or data that do not fit the run's input.
    pub fn load(&self, base: &Path, input: &Input, group: Option<&str>) -> Result<Loaded, Error> {
        (self.row.load)(&Place { argument: self.argument, base }, input, group)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tributary_common::config::Document;

    /// The `[input]` of this text.
    pub(crate) fn input(text: &str) -> Input {
        let mut root = Document::parse("run.toml", &format!("[input]\n{text}")).unwrap().table();
        Input::parse(root.section("input").unwrap()).unwrap()
    }

    #[test]
    fn sources_are_sorted_and_unique() {
        assert!(SOURCES.is_sorted_by(|a, b| a.name < b.name));
    }

    #[test]
    fn sources_parse_with_a_path_relative_to_the_run_file() {
        let path = |text| Place { argument: Source::parse(text).unwrap().argument, base: Path::new("runs") }.path();
        assert_eq!(path("idx:../data/mnist"), Path::new("runs/../data/mnist"));
        assert_eq!(path("csv:/data/a:b.csv"), Path::new("/data/a:b.csv"));
        Source::parse("digits").unwrap();
    }

    #[test]
    fn unknown_and_incomplete_sources_say_what_to_write() {
        for (text, hint) in [
            ("digit", "did you mean `digits`? `tributary list sources` prints all of them"),
            ("parquet:x", "`tributary list sources` prints all of them"),
            ("idx", "write idx:DIR"),
            ("csv:", "write csv:FILE"),
            ("digits:x", "write digits"),
        ] {
            assert_eq!(Source::parse(text).unwrap_err().hint().unwrap(), hint, "{text}");
        }
    }
}
