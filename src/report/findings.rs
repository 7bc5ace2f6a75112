//! What `doctor` found: a table for people, an array for scripts.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use super::json;
use crate::error::phrase::Escaped;
use crate::lock::{Finding, Grade};

/// What every terminal has; longer sentences go on in the next line.
const WIDTH: u16 = 80;

/// One row for each finding, with a line of headings; what failed comes last, next to the prompt.
#[must_use]
pub fn table(findings: &[Finding]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["LEVEL", "CHECK", "FINDING"]);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    let mut ordered: Vec<&Finding> = findings.iter().collect();
    ordered.sort_by_key(|finding| finding.grade);
    table.add_rows(ordered.into_iter().map(row));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2)).set_cell_alignment(CellAlignment::Left);
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n") + "\n"
}

fn row(finding: &Finding) -> [String; 3] {
    let mut sentences = Escaped(&finding.what).to_string();
    for (name, sentence) in [("why", &finding.why), ("do", &finding.advice)] {
        if !sentence.is_empty() {
            sentences += &format!("\n{name}: {}", Escaped(sentence));
        }
    }
    [level(finding.grade).to_owned(), finding.check.to_owned(), sentences]
}

/// The findings as one array on one line.
#[must_use]
pub fn json(findings: &[Finding]) -> String {
    json::line(&findings.iter().map(Object::of).collect::<Vec<_>>())
}

fn level(grade: Grade) -> &'static str {
    match grade {
        Grade::Ok => "ok",
        Grade::Warning => "warning",
        Grade::Failed => "failed",
    }
}

#[derive(Serialize)]
struct Object<'a> {
    check: &'static str,
    level: &'static str,
    what: &'a str,
    why: Option<&'a str>,
    #[serde(rename = "do")]
    advice: Option<&'a str>,
}

impl<'a> Object<'a> {
    fn of(finding: &'a Finding) -> Self {
        let known = |text: &'a String| Some(text.as_str()).filter(|text| !text.is_empty());
        Self {
            check: finding.check,
            level: level(finding.grade),
            what: &finding.what,
            why: known(&finding.why),
            advice: known(&finding.advice),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_eighty_columns_and_ends_with_what_failed() {
        let long = "a sentence that goes on and on, ".repeat(6);
        let findings = [Finding::failed("eviction", &long, &long, "do it\u{1b}[2J"), Finding::ok("version", "7.2")];
        let table = table(&findings);
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[0].starts_with("LEVEL") && lines[1].starts_with("ok"), "{table}");
        assert!(lines[2].starts_with("failed  eviction") && table.contains("do: do it\\u{1b}[2J"), "{table}");
    }

    #[test]
    fn scripts_get_null_where_there_is_nothing_to_do() {
        let json = json(&[Finding::ok("version", "7.2"), Finding::warning("role", "a", "b", "c")]);
        assert_eq!(
            json,
            "[{\"check\":\"version\",\"level\":\"ok\",\"what\":\"7.2\",\"why\":null,\"do\":null},\
             {\"check\":\"role\",\"level\":\"warning\",\"what\":\"a\",\"why\":\"b\",\"do\":\"c\"}]\n"
        );
    }
}
