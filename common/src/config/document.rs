//! A whole run file: parsed once, overridden by `--set`, handed out section by section.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::item::{Node, Value};
use super::{Error, Table};
use crate::Digest;

/// The largest run file that is read, in bytes: a plan must fit one control frame.
pub const RUN_FILE_BYTES_MAX: usize = 48 * 1024;

/// Tables nested deeper than this are refused.
const DEPTH_MAX: usize = 16;

/// A parsed run file.
#[derive(Clone, Debug)]
pub struct Document {
    file: Arc<str>,
    entries: BTreeMap<String, Node>,
}

impl Document {
    /// Parses `text`; `file` is the name shown in errors.
    ///
    /// # Errors
    /// Not TOML, too large, or nested too deep.
    pub fn parse(file: &str, text: &str) -> Result<Self, Error> {
        let fail = |line, problem: String| Error { file: file.to_owned(), line, problem, hint: None };
        if text.len() > RUN_FILE_BYTES_MAX {
            return Err(fail(Some(1), format!("{} bytes are more than the {RUN_FILE_BYTES_MAX} allowed", text.len())));
        }
        let lines = Lines::of(text);
        let root = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| lines.at(span.start));
            fail(Some(line), error.message().to_owned())
        })?;
        let mut entries = BTreeMap::new();
        for (key, value) in root.into_inner() {
            let line = lines.at(key.span().start);
            let node = node(value, line, &lines, 0).ok_or_else(|| {
                fail(
                    Some(line),
                    format!("`{}` is nested too deep, or holds a date or an integer beyond 64 bits", key.get_ref()),
                )
            })?;
            entries.insert(key.into_inner().into_owned(), node);
        }
        Ok(Self { file: file.into(), entries })
    }

    /// Applies `section.key=value`; the value is TOML, or a bare word that is taken as a string.
    ///
    /// # Errors
    /// No `=`, or the path runs through something that is no table.
    pub fn set(&mut self, assignment: &str) -> Result<(), Error> {
        let fail = |problem: String| Error {
            file: self.file.to_string(),
            line: None,
            problem,
            hint: Some("write --set section.key=value, for example --set train.batch=32".to_owned()),
        };
        let (path, value) = assignment.split_once('=').ok_or_else(|| fail(format!("`{assignment}` has no `=`")))?;
        let value = value.trim();
        let parse = |text: &str| Self::parse("--set", &format!("value = {text}"));
        let mut parsed = parse(value).or_else(|_| parse(&toml::Value::String(value.to_owned()).to_string()))?;
        let mut new = parsed.entries.remove("value").expect("one key was just parsed");
        forget_lines(&mut new);
        let mut keys: Vec<&str> = path.trim().split('.').collect();
        let last = keys.pop().expect("split yields at least one part");
        let mut entries = &mut self.entries;
        for key in keys {
            let child = entries
                .entry(key.to_owned())
                .or_insert_with(|| Node { line: None, value: Value::Table(BTreeMap::new()) });
            let Value::Table(inner) = &mut child.value else {
                return Err(fail(format!("`{key}` in `{path}` is no table")));
            };
            entries = inner;
        }
        entries.insert(last.to_owned(), new);
        Ok(())
    }

    /// The whole file as a table, to be taken apart.
    #[must_use]
    pub fn table(&self) -> Table {
        Table::new(Arc::clone(&self.file), String::new(), Some(1), self.entries.clone())
    }

    /// Only these sections as canonical text: sorted keys, no comments, one section a line. [`Document::parse`] reads it
    /// back; two files that mean the same give the same text. This is how a plan travels to clients.
    #[must_use]
    pub fn canonical(&self, sections: &[&str]) -> String {
        let mut out = String::new();
        for (key, node) in self.entries.iter().filter(|(key, _)| sections.contains(&key.as_str())) {
            _ = write!(out, "{key} = ");
            node.write_canonical(&mut out);
            out.push('\n');
        }
        out
    }

    /// The digest of all that decides the run's result: everything but `run.rounds`, `run.stop_at`, `run.name`,
    /// `run.keep_models` and where data lie (`data.source`), so that a run may be prolonged or moved.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut entries = self.entries.clone();
        for (section, keys) in [("run", &["rounds", "stop_at", "name", "keep_models"][..]), ("data", &["source"][..])] {
            if let Some(Node { value: Value::Table(inner), .. }) = entries.get_mut(section) {
                inner.retain(|key, _| !keys.contains(&key.as_str()));
            }
        }
        let mut out = String::new();
        Node { line: None, value: Value::Table(entries) }.write_canonical(&mut out);
        Digest::of(out.as_bytes())
    }

    /// The name shown in errors.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }
}

fn forget_lines(node: &mut Node) {
    node.line = None;
    match &mut node.value {
        Value::List(nodes) => nodes.iter_mut().for_each(forget_lines),
        Value::Table(entries) => entries.values_mut().for_each(forget_lines),
        Value::Flag(_) | Value::Float(_) | Value::Integer(_) | Value::Text(_) => {}
    }
}

/// The starts of lines, to turn byte offsets into line numbers.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect())
    }

    fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|&start| start <= offset)
    }
}

/// The value with its line; `None` for what run files do not hold. A nested key's own line is used for its value.
fn node(value: Spanned<DeValue<'_>>, line: usize, lines: &Lines, depth: usize) -> Option<Node> {
    if depth > DEPTH_MAX {
        return None;
    }
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok()?),
        DeValue::Float(number) => Value::Float(number.as_str().parse().ok()?),
        DeValue::Boolean(flag) => Value::Flag(flag),
        DeValue::Datetime(_) => return None,
        DeValue::Array(items) => Value::List(
            items
                .into_iter()
                .map(|item| {
                    let line = lines.at(item.span().start);
                    node(item, line, lines, depth + 1)
                })
                .collect::<Option<_>>()?,
        ),
        DeValue::Table(table) => Value::Table(
            table
                .into_iter()
                .map(|(key, value)| {
                    let line = lines.at(key.span().start);
                    Some((key.into_inner().into_owned(), node(value, line, lines, depth + 1)?))
                })
                .collect::<Option<_>>()?,
        ),
    };
    Some(Node { line: Some(line), value })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[run]\nname = \"x\" # why\nrounds = 3\n\n[train]\nlr = 0.5\nlist = [\n  1,\n  2,\n]\n";

    #[test]
    fn unknown_key_is_refused_with_its_line_and_the_nearest_key() {
        let mut root = Document::parse("a.toml", "[run]\nname = \"x\"\nruonds = 3\n").unwrap().table();
        let mut run = root.section("run").unwrap();
        run.optional("name");
        run.optional("rounds");
        let error = run.finish().unwrap_err();
        assert_eq!(error.to_string(), "run file `a.toml`, line 3: unknown key `ruonds` in `run`");
        assert!(error.hint().unwrap().starts_with("did you mean `rounds`?"), "{error:?}");
    }

    #[test]
    fn wrong_type_and_missing_key_name_line_and_path() {
        let mut root = Document::parse("a.toml", TEXT).unwrap().table();
        let mut run = root.section("run").unwrap();
        let error = run.required("name").unwrap().integer(1..=9).unwrap_err();
        assert_eq!(error.to_string(), "run file `a.toml`, line 2: `run.name` must be an integer, found a string");
        assert_eq!(run.required("seed").unwrap_err().to_string(), "run file `a.toml`, line 1: `run.seed` is missing");
        let list = root.section("train").unwrap().required("list").unwrap().list().unwrap();
        let error = list[1].integer(5..=9).unwrap_err();
        assert_eq!(error.to_string(), "run file `a.toml`, line 9: `train.list[1]` must be from 5 to 9, found 2");
    }

    #[test]
    fn broken_toml_names_its_line() {
        let error = Document::parse("a.toml", "[run]\nname = \n").unwrap_err();
        assert_eq!(error.line(), Some(2));
    }

    #[test]
    fn canonical_text_reads_back_to_the_same_text_and_ignores_spelling() {
        let document = Document::parse("a.toml", TEXT).unwrap();
        let text = document.canonical(&["train", "run"]);
        assert_eq!(Document::parse("plan", &text).unwrap().canonical(&["train", "run"]), text);
        let same =
            Document::parse("b.toml", "train = { list = [1, 2], lr = 0.5 }\nrun.name = 'x'\nrun.rounds = 3").unwrap();
        assert_eq!(same.canonical(&["train", "run"]), text);
        assert_eq!(same.digest(), document.digest());
    }

    #[test]
    fn digest_ignores_what_may_change_on_resume_and_nothing_else() {
        let of = |set: &str| {
            let mut document = Document::parse("a.toml", TEXT).unwrap();
            document.set(set).unwrap();
            document.digest()
        };
        assert_eq!(of("run.rounds=9"), of("run.rounds=3"));
        assert_eq!(of("run.keep_models=9"), of("run.keep_models=3"));
        assert_eq!(of("data.source=digits"), of("data.source=idx:x"));
        assert_ne!(of("train.lr=0.1"), of("train.lr=0.5"));
    }

    #[test]
    fn set_overrides_adds_and_takes_bare_words() {
        let mut document = Document::parse("a.toml", TEXT).unwrap();
        document.set("train.lr=0.25").unwrap();
        document.set("server.optimizer.kind = sgd").unwrap();
        let mut root = document.table();
        let lr = root.section("train").unwrap().required("lr").unwrap();
        assert!((lr.number().unwrap() - 0.25).abs() < f64::EPSILON);
        assert!(lr.fail("x").to_string().contains("--set"));
        let mut optimizer = root.section("server").unwrap().section("optimizer").unwrap();
        assert_eq!(optimizer.required("kind").unwrap().text().unwrap(), "sgd");
        assert!(document.set("train.lr.x=1").is_err() && document.set("nonsense").is_err());
    }

    #[test]
    fn oversized_and_deep_files_are_refused() {
        assert!(Document::parse("a.toml", &"#".repeat(RUN_FILE_BYTES_MAX + 1)).is_err());
        let deep = format!("a = {}1{}", "[".repeat(40), "]".repeat(40));
        assert!(Document::parse("a.toml", &deep).is_err());
    }
}
