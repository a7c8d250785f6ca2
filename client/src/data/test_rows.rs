//! `data.test`: which examples are kept for testing.

use tributary_common::config::{Error, Item};

/// Which examples are kept for testing. Default: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TestRows {
    /// Row i is a test row if i mod n = 0, `{ every = n }`; n is at least 2.
    Every(u32),
    /// No row.
    #[default]
    None,
    /// The source's own test files, `"source"`.
    Source,
}

impl TestRows {
    /// Reads `data.test`.
    ///
    /// # Errors
    /// Neither `"source"` nor `{ every = n }`.
    pub fn parse(item: Item) -> Result<Self, Error> {
        if item.is_text() {
            return match item.text()? {
                "source" => Ok(Self::Source),
                other => Err(item.fail(format!("unknown test rows `{other}`")).with_hint(
                    "write \"source\" for the source's own test files, or { every = 5 } for every fifth row",
                )),
            };
        }
        let mut table = item.table()?;
        let every = table.required("every")?;
        let number = every.integer(2..=u64::from(u32::MAX))?;
        table.finish()?;
        Ok(Self::Every(u32::try_from(number).expect("checked to be in range")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_common::config::Document;

    #[test]
    fn test_rows_read_or_say_why_not() {
        let read = |text: &str| {
            let mut root = Document::parse("run.toml", text).unwrap().table();
            TestRows::parse(root.required("test").unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(read("test = { every = 5 }"), Ok(TestRows::Every(5)));
        assert_eq!(read("test = 'source'"), Ok(TestRows::Source));
        assert!(read("test = { every = 1 }").unwrap_err().contains("line 1"));
        assert!(read("test = 'sauce'").unwrap_err().contains("unknown test rows `sauce`"));
        assert!(read("test = { evry = 5 }").is_err());
    }
}
