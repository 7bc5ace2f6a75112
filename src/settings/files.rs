//! Configuration files: what they set, in which line, and every way they can be wrong.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::options::{self, CHOOSING_FILES, Kind};
use super::secrets;
use super::source::{Level, Stated};
use crate::cli;
use crate::error::Error;
use crate::error::phrase::{Escaped, OsReason, Quoted};

/// Far more than all options together; whoever names a disk by mistake shall not fill the memory.
const MOST_BYTES: u64 = 1 << 20;

/// The table that holds the profiles.
const PROFILES: &str = "profile";

/// What files set, the layer that counts most first.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    layers: Vec<Layer>,
    /// Each file that was looked for, in the same order.
    pub looked_for: Vec<LookedFor>,
    /// Of all profiles that are there.
    pub profiles: Vec<String>,
    /// What is unwise about them.
    pub warnings: Vec<String>,
    /// The variables that lead a nested dlock to the same files and profile.
    pub variables: Vec<(String, Option<String>)>,
}

/// One place where a file may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LookedFor {
    pub path: PathBuf,
    pub found: bool,
}

/// The settings of one table of one file.
#[derive(Debug, Clone)]
struct Layer {
    level: Level,
    path: PathBuf,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    key: &'static str,
    value: Value,
    line: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Switch(bool),
    Text(String),
}

/// A file and the two levels that it fills.
pub(super) struct Place {
    pub path: PathBuf,
    /// As which option it was named; `None`: it may be absent.
    pub named_as: Option<String>,
    pub profile: Level,
    pub base: Level,
}

impl Files {
    /// Reads what there is at `places`, the one that counts most first.
    ///
    /// # Errors
    /// [`Error::Configuration`] when something in them is wrong, or a file or profile that was named is missing.
    pub(super) fn read(places: Vec<Place>, profile: Option<&Stated<String>>) -> Result<Self, Error> {
        let mut files = Self::default();
        for place in places {
            let text = read(&place)?;
            files.looked_for.push(LookedFor { path: place.path.clone(), found: text.is_some() });
            let Some(text) = text else { continue };
            let document = Document { path: &place.path, text: &text.words };
            let (base, of_profiles) = document.parse()?;
            let has_secret = holds_secret(&base) || of_profiles.iter().any(|(_, entries)| holds_secret(entries));
            if has_secret {
                secrets::guard();
            }
            if has_secret && text.readable_by_all {
                files.warnings.push(format!(
                    "{} holds a password, and every user of this host may read it: chmod 600 it, or name a \
                     redis-password-file there instead",
                    Escaped(&place.path.to_string_lossy())
                ));
            }
            for (name, entries) in of_profiles {
                if profile.is_some_and(|wanted| wanted.value == name) {
                    files.layers.push(Layer { level: place.profile, path: place.path.clone(), entries });
                }
                files.profiles.push(name);
            }
            files.layers.push(Layer { level: place.base, path: place.path, entries: base });
        }
        match profile {
            Some(wanted) if !files.profiles.contains(&wanted.value) => Err(unknown_profile(wanted, &files)),
            _ => Ok(files),
        }
    }

    pub(super) fn text(&self, level: Level, key: &str) -> Option<Stated<String>> {
        let (layer, entry) = self.entry(level, key)?;
        match &entry.value {
            Value::Text(text) => Some(Stated { value: text.clone(), name: name(&layer.path, entry), level }),
            Value::Switch(_) => None,
        }
    }

    /// The path, taken from the directory of the file where it is a relative one.
    pub(super) fn path(&self, level: Level, key: &str) -> Option<Stated<PathBuf>> {
        let (layer, _) = self.entry(level, key)?;
        let directory = layer.path.parent().unwrap_or(Path::new(""));
        self.text(level, key).map(|stated| stated.map(|path| directory.join(path)))
    }

    pub(super) fn switch(&self, level: Level, key: &str) -> Option<bool> {
        match self.entry(level, key)?.1.value {
            Value::Switch(switch) => Some(switch),
            Value::Text(_) => None,
        }
    }

    /// How the option is called at `level`.
    pub(super) fn name_at(&self, level: Level, key: &str) -> String {
        let layer = self.layers.iter().find(|layer| layer.level == level);
        match (self.entry(level, key), layer) {
            (Some((layer, entry)), _) => name(&layer.path, entry),
            (None, Some(layer)) => format!("{key} in {}", Escaped(&layer.path.to_string_lossy())),
            (None, None) => key.to_owned(),
        }
    }

    fn entry(&self, level: Level, key: &str) -> Option<(&Layer, &Entry)> {
        let layer = self.layers.iter().find(|layer| layer.level == level)?;
        Some((layer, layer.entries.iter().find(|entry| entry.key == key)?))
    }
}

fn name(path: &Path, entry: &Entry) -> String {
    format!("{} in {} line {}", entry.key, Escaped(&path.to_string_lossy()), entry.line)
}

fn holds_secret(entries: &[Entry]) -> bool {
    entries.iter().any(|entry| match &entry.value {
        Value::Text(text) => entry.key == "redis-password" || (entry.key == "redis" && has_password(text)),
        Value::Switch(_) => false,
    })
}

/// Whether some URL of the list brings its password along.
pub(super) fn has_password(urls: &str) -> bool {
    urls.contains("pass=")
        || urls.split("://").skip(1).any(|url| {
            let credentials = url.rsplit_once('@').map(|(credentials, _)| credentials);
            credentials.is_some_and(|credentials| credentials.contains(':') && !credentials.ends_with(':'))
        })
}

fn unknown_profile(wanted: &Stated<String>, files: &Files) -> Error {
    let similarity = |name: &&String| strsim::jaro_winkler(name, &wanted.value);
    let nearest = files.profiles.iter().max_by(|one, other| similarity(one).total_cmp(&similarity(other)));
    let hint = match nearest {
        Some(nearest) => format!("did you mean {}?", Quoted(nearest)),
        None => "no configuration file has any".to_owned(),
    };
    let looked_for: Vec<_> = files.looked_for.iter().map(|file| file.path.to_string_lossy()).collect();
    let places = Escaped(&looked_for.join(" and ")).to_string();
    Error::Configuration(format!(
        "invalid {} {}: there is no such profile in {places}; {hint}",
        wanted.name,
        Quoted(&wanted.value)
    ))
}

struct Text {
    words: String,
    readable_by_all: bool,
}

/// The file's text; `None`: there is no such file, and nobody named it.
fn read(place: &Place) -> Result<Option<Text>, Error> {
    let (file, refused) = match open(place) {
        Ok(file) => (file, None),
        Err(error) if place.named_as.is_none() && is_absent(&error, &place.path) => return Ok(None),
        Err(error) if has_run_out(&error) => {
            return Err(Error::system(format!("read {}", Escaped(&place.path.to_string_lossy())), error));
        }
        Err(error) => (None, Some(error)),
    };
    let shown = place.path.to_string_lossy();
    let what = match &place.named_as {
        Some(name) => format!("{name} {}", Quoted(&shown)),
        None => Escaped(&shown).to_string(),
    };
    let wrong = |why: &dyn std::fmt::Display| Error::Configuration(format!("cannot read {what}: {why}"));
    let Some(file) = file else {
        return Err(match refused {
            Some(error) => wrong(&OsReason(&error)),
            None => wrong(&"it is no file"),
        });
    };
    let metadata = file.metadata().map_err(|error| wrong(&OsReason(&error)))?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|error| wrong(&OsReason(&error)))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(wrong(&"it has more than a megabyte, which no configuration has"));
    }
    let words = String::from_utf8(bytes).map_err(|_| wrong(&"it is not valid UTF-8"))?;
    Ok(Some(Text { words, readable_by_all: metadata.is_file() && metadata.mode() & 0o004 != 0 }))
}

/// Nothing that stands where a file belongs may hold dlock up; what was named may be a pipe (`--config <(…)`).
fn open(place: &Place) -> io::Result<Option<File>> {
    if place.named_as.is_some() {
        return File::open(&place.path).map(Some);
    }
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(&place.path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

/// Also where this user may not even look, as below a home that an outer user left in `HOME`.
fn is_absent(error: &io::Error, path: &Path) -> bool {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => true,
        io::ErrorKind::PermissionDenied => path.symlink_metadata().is_err(),
        _ => false,
    }
}

/// Whether it is the system that has no descriptors or memory left, which says nothing of the file.
fn has_run_out(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

/// A file's text, for sentences about it.
struct Document<'a> {
    path: &'a Path,
    text: &'a str,
}

/// The settings above all profiles, and those of each.
type Tables = (Vec<Entry>, Vec<(String, Vec<Entry>)>);

impl Document<'_> {
    fn parse(&self) -> Result<Tables, Error> {
        let document = DeTable::parse(self.text).map_err(|error| {
            let message: Vec<&str> = error.message().split_whitespace().collect();
            self.wrong("invalid TOML", error.span().unwrap_or_default(), message.join(" "))
        })?;
        let mut profiles = Vec::new();
        for (key, value) in document.get_ref() {
            if key.get_ref().as_ref() != PROFILES {
                continue;
            }
            let what = "profiles are tables: [profile.NAME] and its settings below";
            let DeValue::Table(named) = value.get_ref() else { return Err(self.wrong("profile", key.span(), what)) };
            for (name, table) in named {
                let DeValue::Table(table) = table.get_ref() else {
                    return Err(self.wrong("profile", name.span(), what));
                };
                profiles.push((name.get_ref().clone().into_owned(), self.entries(table)?));
            }
        }
        let base = document.get_ref().iter().filter(|(key, _)| key.get_ref().as_ref() != PROFILES);
        Ok((base.map(|(key, value)| self.entry(key, value)).collect::<Result<_, _>>()?, profiles))
    }

    fn entries(&self, table: &DeTable<'_>) -> Result<Vec<Entry>, Error> {
        table.iter().map(|(key, value)| self.entry(key, value)).collect()
    }

    fn entry(&self, key: &Spanned<std::borrow::Cow<'_, str>>, value: &Spanned<DeValue<'_>>) -> Result<Entry, Error> {
        let name = key.get_ref().as_ref();
        if CHOOSING_FILES.contains(&name) || !cli::has_variable(name) {
            let why = "it belongs to one call, and can stand in the command line only";
            return Err(self.wrong(&format!("unknown key {}", Quoted(name)), key.span(), why));
        }
        let Some(setting) = options::by_key(name) else {
            let hint = format!("there is no such setting; did you mean {:?}?", options::nearest(name));
            return Err(self.wrong(&format!("unknown key {}", Quoted(name)), key.span(), hint));
        };
        let read = plain(value.get_ref(), setting.kind);
        let read = read.ok_or_else(|| {
            let found = value.get_ref().type_str();
            self.wrong(setting.key, value.span(), format!("it has to be {}, and this is of type {found}", setting.kind))
        })?;
        Ok(Entry { key: setting.key, value: read, line: self.position(key.span().start).0 })
    }

    fn wrong(&self, what: &str, span: Range<usize>, why: impl std::fmt::Display) -> Error {
        let (line, column) = self.position(span.start);
        let path = self.path.to_string_lossy();
        Error::Configuration(format!("{what} in {} line {line}, column {column}: {why}", Escaped(&path)))
    }

    /// Line and column of a byte, both counted from 1.
    fn position(&self, byte: usize) -> (usize, usize) {
        let before = self.text.get(..byte).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// The value as the command line would have it; `None`: it is of another type.
fn plain(value: &DeValue<'_>, kind: Kind) -> Option<Value> {
    let text = match (kind, value) {
        (Kind::Switch, DeValue::Boolean(switch)) => return Some(Value::Switch(*switch)),
        (Kind::Switch, _) => return None,
        (_, DeValue::String(text)) => text.clone().into_owned(),
        (Kind::Number | Kind::Duration, DeValue::Integer(number)) => {
            i128::from_str_radix(number.as_str(), number.radix()).ok()?.to_string()
        }
        (Kind::Duration, DeValue::Float(number)) => {
            number.as_str().parse().ok().filter(|seconds: &f64| seconds.is_finite())?.to_string()
        }
        (Kind::List, DeValue::Array(list)) => {
            let texts: Option<Vec<&str>> = list.iter().map(|text| text.get_ref().as_str()).collect();
            texts?.join(",")
        }
        _ => return None,
    };
    Some(Value::Text(text))
}

#[cfg(test)]
mod tests;
