//! That what the pages say of costs was measured: each is what `benches/harness` makes of the results that lie beside it.

use std::fs;
use std::path::Path;
use std::process::Command;

const BEGIN: &str = "<!-- benches: begin; written by benches/run.sh, not by hand -->";
const END: &str = "<!-- benches: end -->";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What a page says between the marks.
fn section(page: &str) -> String {
    let text = read(page);
    let (_, rest) = text.split_once(BEGIN).unwrap_or_else(|| panic!("{page} has a place for it"));
    let (section, rest) = rest.split_once(END).unwrap_or_else(|| panic!("{page}: it ends"));
    assert!(!rest.contains(BEGIN), "{page} has one place for it");
    section.trim().to_owned()
}

/// What the results say, as the harness writes it.
fn rendered(name: &str) -> String {
    let told = Command::new("python3")
        .args(["-m", "harness.report", name])
        .env("PYTHONPATH", root().join("benches"))
        .envs([("PYTHONDONTWRITEBYTECODE", "1"), ("PYTHONIOENCODING", "utf-8")])
        .output()
        .expect("python3 is installed: tests/run.sh installs what the tests need");
    assert!(told.status.success(), "{name}: {}", String::from_utf8_lossy(&told.stderr));
    String::from_utf8(told.stdout).expect("it writes text").trim().to_owned()
}

#[track_caller]
fn assert_is_generated(page: &str, name: &str) {
    let (said, measured) = (section(page), rendered(name));
    let differs = said.lines().zip(measured.lines()).find(|(said, measured)| said != measured);
    assert!(
        said == measured,
        "{page} is not what benches/results/latest.json says: {differs:?}; \
         `PYTHONPATH=benches python3 -m harness.report write` writes it anew"
    );
}

#[test]
fn the_readme_says_what_was_measured() {
    assert_is_generated("README.md", "readme");
    assert!(section("README.md").contains("\n| dlock redis | "), "it compares");
}

#[test]
fn the_page_about_costs_says_what_was_measured() {
    assert_is_generated("docs/benchmarks.md", "docs");
    assert!(section("docs/benchmarks.md").contains("## Targets"), "it says what was held");
}

#[test]
fn every_picture_of_the_pages_was_drawn() {
    let links = |page: &str| -> Vec<String> {
        let text = read(page);
        let found = text.split("benches/results/").skip(1).filter_map(|rest| rest.split_once(')'));
        found.map(|(name, _)| name.to_owned()).filter(|name| name.ends_with(".svg")).collect()
    };
    let pictures = [links("README.md"), links("docs/benchmarks.md")].concat();
    assert!(pictures.len() > 5, "they are found: {pictures:?}");
    for picture in pictures {
        assert!(read(&format!("benches/results/{picture}")).contains("<svg"), "{picture} is a picture");
    }
}
