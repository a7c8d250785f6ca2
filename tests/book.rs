//! The pages beside the code: what they name exists, and what exists is in the reference.

#![expect(clippy::unwrap_used, reason = "a test may stop where it fails, in its helpers too")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The pages, relative to the repository.
const PAGES: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "README.md",
    "SECURITY.md",
    "STYLE.md",
    "docs/limits.md",
    "docs/performance.md",
    "docs/reliability.md",
    "docs/run-file.md",
];

/// The folders at the top: what a path in a page begins with.
const FOLDERS: &[&str] = &[
    ".ci/",
    "benches/",
    "certs/",
    "client/",
    "common/",
    "coordinator/",
    "cuda/",
    "docs/",
    "examples/",
    "fuzz/",
    "kernels/",
    "simulation/",
    "src/",
    "tests/",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

/// What stands between single backticks, outside of fenced blocks.
fn quoted(text: &str) -> Vec<&str> {
    let mut is_fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            is_fenced = !is_fenced;
        } else if !is_fenced {
            found.extend(line.split('`').skip(1).step_by(2));
        }
    }
    found
}

/// Every Rust file of the repository.
fn sources() -> String {
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| root().join(folder)).collect();
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    text
}

/// A map that names what is gone leads astray.
#[test]
fn every_path_and_link_in_the_pages_exists() {
    for name in PAGES {
        let text = page(name);
        for path in quoted(&text).into_iter().filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder))) {
            // STYLE.md names other projects' files and files to come; it is about form.
            assert!(*name == "STYLE.md" || root().join(path).exists(), "{name}: there is no `{path}`");
        }
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            let is_elsewhere = link.starts_with("http") || file.is_empty();
            let target = root().join(name).parent().unwrap().join(file);
            assert!(is_elsewhere || target.exists(), "{name}: the link to {link} leads nowhere");
        }
    }
}

/// A promise that names a test which is gone is no promise.
#[test]
fn every_test_that_the_pages_name_exists() {
    let sources = sources();
    let mut n = 0;
    for name in ["ARCHITECTURE.md", "SECURITY.md", "docs/limits.md", "docs/reliability.md"] {
        // Names of tests are sentences: at least four words.
        for test in quoted(&page(name)).into_iter().filter(|word| is_sentence(word)) {
            let is_limit = sources.contains(&format!("    pub {test}: "));
            let is_there = is_limit || ["(", "<"].iter().any(|end| sources.contains(&format!("fn {test}{end}")));
            assert!(is_there, "{name}: there is no test `{test}`");
            n += 1;
        }
    }
    assert!(n > 20, "the pages name their tests: {n} found");
}

fn is_sentence(word: &str) -> bool {
    word.split('_').count() > 3 && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn tributary(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tributary")).args(arguments).current_dir(root()).output().unwrap()
}

#[test]
fn everything_that_list_prints_is_in_the_reference() {
    let page = page("docs/run-file.md");
    let known: BTreeSet<&str> =
        quoted(&page).into_iter().flat_map(|word| word.trim_matches('"').split(':').next()).collect();
    let list: Value = serde_json::from_slice(&tributary(&["list", "--json"]).stdout).unwrap();
    for (kind, rows) in list.as_object().unwrap() {
        for row in rows.as_array().unwrap() {
            let name = row["name"].as_str().unwrap();
            let is_option = name.starts_with("--");
            assert!(is_option || known.contains(name), "docs/run-file.md does not tell of `{name}` ({kind})");
        }
    }
}

/// The keys come from the parsers: what is suggested for a key that nobody knows.
#[test]
fn every_key_of_every_section_is_in_the_reference() {
    let page = page("docs/run-file.md");
    let known: BTreeSet<&str> = quoted(&page).into_iter().collect();
    let mut n = 0;
    for section in ["aggregate", "cohort", "data", "evaluate", "input", "model", "run", "server", "sim", "train"] {
        let output = tributary(&["check", "examples/digits.toml", "--set", &format!("{section}.zzzzzz=1")]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{error}");
        let keys = error.split("possible: ").nth(1).unwrap_or_else(|| panic!("no keys of {section}: {error}"));
        for key in quoted(keys) {
            let full = format!("{section}.{key}");
            assert!(known.contains(full.as_str()), "docs/run-file.md does not tell of `{full}`");
            n += 1;
        }
    }
    assert!(n > 35, "the parsers name their keys: {n} found");
}

#[test]
fn every_limit_of_the_coordinator_is_on_its_page() {
    let page = page("docs/limits.md");
    let known: BTreeSet<&str> = quoted(&page).into_iter().collect();
    let text = std::fs::read_to_string(root().join("coordinator/src/server/limits.rs")).unwrap();
    let fields = text.split("pub struct Limits {").nth(1).unwrap().split("\n}").next().unwrap();
    let names: Vec<_> = fields.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split(':').next()).collect();
    assert!(names.len() > 15, "the limits are found: {names:?}");
    names.iter().for_each(|name| assert!(known.contains(name), "docs/limits.md does not tell of `{name}`"));
}
