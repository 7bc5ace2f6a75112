//! `doctor --config`: every setting, its value, and where it comes from.

use comfy_table::{Table, presets};
use serde::Serialize;

use super::json;
use crate::error::phrase::Escaped;
use crate::settings::{Configuration, Effective};

/// The files, and the settings as aligned columns.
#[must_use]
pub fn table(configuration: &Configuration) -> String {
    let mut text = String::new();
    for (path, found) in &configuration.files {
        let found = if *found { "read" } else { "not there" };
        text += &format!("{}: {found}\n", Escaped(path));
    }
    if let Some(profile) = &configuration.profile {
        text += &format!("profile: {}\n", Escaped(profile));
    }
    text += "\n";
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["SETTING", "VALUE", "FROM"]);
    table.add_rows(configuration.settings.iter().map(row));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    text += &table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n");
    text + "\n"
}

fn row(setting: &Effective) -> [String; 3] {
    let value = if setting.value.is_empty() { "\"\"".to_owned() } else { Escaped(&setting.value).to_string() };
    let from = match &setting.unused {
        Some(why) => format!("{} (not used: {why})", setting.from),
        None => setting.from.clone(),
    };
    [setting.key.to_owned(), value, from]
}

/// The same as one object on one line.
#[must_use]
pub fn json(configuration: &Configuration) -> String {
    json::line(&Object {
        profile: configuration.profile.as_deref(),
        files: configuration.files.iter().map(|(path, found)| File { path, found: *found }).collect(),
        settings: configuration.settings.iter().map(Entry::of).collect(),
    })
}

#[derive(Serialize)]
struct Object<'a> {
    profile: Option<&'a str>,
    files: Vec<File<'a>>,
    settings: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct File<'a> {
    path: &'a str,
    found: bool,
}

#[derive(Serialize)]
struct Entry<'a> {
    setting: &'static str,
    value: &'a str,
    source: &'static str,
    from: &'a str,
    used: bool,
}

impl<'a> Entry<'a> {
    fn of(setting: &'a Effective) -> Self {
        let Effective { key, value, source, from, unused } = setting;
        Self { setting: key, value, source, from, used: unused.is_none() }
    }
}
