//! The report of run folders that look like real ones: whole, harmless, and drawn by a real browser where there is one.

#![expect(clippy::unwrap_used, reason = "a test may stop where it fails, in its helpers too")]

use std::path::Path;
use std::process::Command;

#[path = "../src/report/mod.rs"]
mod report;
#[path = "report/sample.rs"]
mod sample;

use report::{Error, Story, render};
use sample::Sample;

fn page(sample: &Sample) -> String {
    let folder = tempfile::tempdir().unwrap();
    sample.write(folder.path());
    render(&Story::read(folder.path()).unwrap())
}

/// What no page may ever hold, whatever the run was like.
fn check_whole(page: &str) {
    for broken in ["NaN", "inf%", "inf,", "\"inf\"", "-0%", "http://", "https://", "<script", "url(", "@import"] {
        assert!(!page.contains(broken), "`{broken}` in {page}");
    }
    for heading in ["Learning", "Across clients", "Classes", "Participation", "Time and bytes", "Notices", "Reproduce"]
    {
        assert!(page.contains(&format!("-heading\">{heading}</h2>")), "no `{heading}`");
    }
    let plots = page.matches("<svg role=\"img\"").count();
    for part in ["-title\">", "-description\">", "<details><summary>Numbers<span"] {
        assert_eq!(page.matches(part).count(), plots, "every plot has its `{part}`");
    }
    let mut ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    ids.sort_unstable();
    assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "ids are unique: {ids:?}");
}

#[test]
fn finished_run_is_told_with_every_plot() {
    let page = page(&Sample::digits());
    check_whole(&page);
    for part in [
        "Finished: 30\u{a0}rounds committed as planned.",
        "id=\"loss\"",
        "id=\"accuracy\"",
        "id=\"clients-accuracy\"",
        "id=\"band-loss\"",
        "id=\"confusion\"",
        "id=\"per-class\"",
        "id=\"time\"",
        "id=\"bytes\"",
        "gate 93.0\u{a0}%",
        "tributary sim run.toml",
        "# &lt;not a tag&gt;",
    ] {
        assert!(page.contains(part), "no {part:?}");
    }
}

/// Ten clients that came one after the other are no news once they are there.
#[test]
fn what_is_no_longer_waited_for_is_no_notice() {
    let finished = page(&Sample::digits());
    assert!(!finished.contains("have joined") && finished.contains("its examples have 63 values"));
    let mut sample = Sample::digits();
    (sample.rounds, sample.end) = (0, None);
    let page = page(&sample);
    assert!(!page.contains("0 of 2 have joined") && page.contains("1 of 2 have joined"));
}

/// Names and reasons come from other machines; a report is opened by an operator.
#[test]
fn markup_in_names_and_reasons_is_text() {
    let mut sample = Sample::digits();
    sample.reason = "<script>alert(1)</script>".to_owned();
    sample.classes[3] = "\"><img src=x onerror=alert(1)>".to_owned();
    let page = page(&sample);
    check_whole(&page);
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(!page.contains("<img") && page.contains("&quot;&gt;&lt;img src=x"));
}

#[test]
fn what_is_missing_is_said_in_words() {
    type Change = fn(&mut Sample);
    let cases: [(&str, Change); 7] = [
        ("Not finished: 0\u{a0}rounds of 30 so far", |sample| (sample.rounds, sample.end) = (0, None)),
        ("No client was chosen.", |sample| (sample.rounds, sample.end) = (0, None)),
        ("Suspended after 1\u{a0}round of 30", |sample| (sample.rounds, sample.end) = (1, Some("suspended"))),
        ("too few clients took part", |sample| sample.end = Some("quorum")),
        ("The run file asks for no evaluation", |sample| sample.sides.clear()),
        ("No measurements of single clients were taken.", |sample| sample.sides = vec!["central"]),
        ("The model predicts a number", |sample| sample.classes.clear()),
    ];
    for (words, change) in cases {
        let mut sample = Sample::digits();
        change(&mut sample);
        let page = page(&sample);
        check_whole(&page);
        assert!(page.contains(words), "no {words:?}");
    }
}

#[test]
fn many_clients_are_a_histogram_and_both_ends() {
    let mut sample = Sample::digits();
    sample.clients = 300;
    let page = page(&sample);
    check_whole(&page);
    assert!(page.contains("id=\"times-counted\"") && page.contains("counted least often"));
    assert!(!page.contains("Every client that was chosen"));
    assert!(page.contains("Columns count 300 clients"));
}

#[test]
fn folder_without_events_is_an_error_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let error = Story::read(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Unreadable { .. }));
    assert!(error.hint().contains("events.jsonl"));
}

/// A page that only looks right as text may still be broken for those who read it.
#[test]
fn browser_draws_the_page_without_complaint() {
    let Some(browser) = browser() else {
        println!("skipped: no Chromium on this machine");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    Sample::digits().write(folder.path());
    let page = folder.path().join("report.html");
    std::fs::write(&page, render(&Story::read(folder.path()).unwrap())).unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"])
        .args(["--enable-logging=stderr", "--window-size=400,900", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.path().join("browser").display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    let (dom, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{log}");
    // The console carries invalid attributes of SVG and whatever the content security policy refuses.
    assert!(!log.contains("CONSOLE"), "{log}");
    check_whole(&dom);
    assert!(dom.contains("<h1>digits</h1>"));
}

fn browser() -> Option<&'static str> {
    ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/snap/bin/chromium"]
        .into_iter()
        .find(|path| Path::new(path).is_file())
}
