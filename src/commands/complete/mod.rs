//! `dlock __complete`: what could stand at the cursor of an unfinished command line. The completions of the shells call
//! it; whatever fails, it says nothing, and it never takes longer than a person would wait for the tab key.

mod gap;
mod line;

use std::ffi::OsString;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args as _, FromArgMatches as _};

use super::list::is_taken;
use crate::backend;
use crate::cli;
use crate::exit_code::{Ending, NO};
use crate::report;
use crate::settings::{self, Environment};
use gap::{Gap, gap};
use line::Line;

/// The word that asks for it. It is no subcommand: nobody types it.
const NAME: &str = "__complete";

/// All in all it is to be 300 ms at most; the start of a process and the printing take the rest.
const LIMIT: Duration = Duration::from_millis(280);

/// Values that are always the same, by the long names of their options.
const WORDS: [(&str, &[&str]); 9] = [
    ("backend", &["file", "redis", "zk", "redis+zk"]),
    ("layout", &["dlock", "redisson", "python-redis-lock", "curator-rw", "kazoo"]),
    ("zk-acl", &["open", "creator"]),
    ("stop-signal", &["TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "KILL"]),
    ("on-lost", &["kill", "warn"]),
    ("descendants", &["ignore", "wait", "kill"]),
    ("log-format", &["text", "json"]),
    ("color", &["auto", "always", "never"]),
    ("before", &["zk"]),
];

/// Who asks, and for what.
enum Question {
    /// `bash COMP_WORDBREAKS LINE`: the answers are what readline puts in the place of its word.
    Bash(Line),
    /// `zsh WORD…`: whole words, which zsh quotes.
    Zsh(Vec<String>),
    /// `fish WORD…`: values alone; fish quotes them, and chooses among them.
    Fish(Vec<String>),
}

/// How it ends when it was asked for: with success and a line for each answer; with [`NO`] where the shell's own
/// completions know more.
pub(super) fn asked(words: &[OsString]) -> Option<Ending> {
    let [_, name, rest @ ..] = words else { return None };
    if name != NAME {
        return None;
    }
    let deadline = Instant::now() + LIMIT;
    let rest: Vec<String> = rest.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let (answer, answered) = mpsc::channel();
    // A name service or a file on a dead server can hold up a thread for ever, but not the end of the process.
    let asking = thread::Builder::new().spawn(move || answers(&rest, &answer));
    let found =
        asking.ok().and_then(|_| answered.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok());
    let Some(found) = found else { return Some(Ending::SUCCESS) };
    let Some(lines) = found else { return Some(Ending::Status(NO)) };
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    // Whoever does not read it needs no answer.
    report::print(&text).ok();
    // The other end of the channel goes when the connection is closed.
    answered.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
    Some(Ending::SUCCESS)
}

/// Sends the answers, or that there is nothing to ask here, and sees to it that the connection is closed.
fn answers(words: &[String], answer: &Sender<Option<Vec<String>>>) {
    let Some(question) = Question::read(words) else { return drop(answer.send(None)) };
    let Some(gap) = gap(question.words()) else { return drop(answer.send(None)) };
    let send = |found: Option<Vec<String>>| {
        let found = found.map(|values| {
            let mut values = values;
            values.sort_unstable();
            values.dedup();
            values.iter().filter_map(|value| question.answer(value, &gap)).collect()
        });
        drop(answer.send(found));
    };
    match kind(&gap.subcommand, gap.option.as_deref()) {
        Some(Kind::Keys) => keys(&gap, &question, send),
        Some(Kind::Pattern) if gap.words.is_empty() => keys(&gap, &question, send),
        Some(Kind::Page) if gap.words.is_empty() => {
            send(Some(cli::grammar().get_subcommands().map(|subcommand| subcommand.get_name().to_owned()).collect()));
        }
        Some(Kind::Profile) => send(Some(profiles(&gap))),
        Some(Kind::Words(words)) => send(Some(words.iter().map(ToString::to_string).collect())),
        Some(Kind::Pattern | Kind::Page) | None => send(None),
    }
}

/// What stands at a place.
enum Kind {
    Keys,
    /// A glob that matches one key alone.
    Pattern,
    /// The name of a subcommand.
    Page,
    Profile,
    Words(&'static [&'static str]),
}

/// `None`: nothing that dlock would know more about than the shell.
fn kind(subcommand: &str, option: Option<&str>) -> Option<Kind> {
    match (subcommand, option) {
        ("status", None) | (_, Some("key")) => Some(Kind::Keys),
        ("list", None) => Some(Kind::Pattern),
        ("man", None) => Some(Kind::Page),
        (_, Some("profile")) => Some(Kind::Profile),
        (_, option) => WORDS.iter().find(|(name, _)| Some(*name) == option).map(|(_, words)| Kind::Words(words)),
    }
}

/// Whether there is anything to ask for at this option of `subcommand`; `None`: at its words.
pub(super) fn is_asked_for(subcommand: &str, option: Option<&str>) -> bool {
    kind(subcommand, option).is_some()
}

impl Question {
    fn read(words: &[String]) -> Option<Self> {
        let (shell, rest) = words.split_first()?;
        match (shell.as_str(), rest) {
            ("bash", [breaks, line]) => Line::read(line, breaks, |name| std::env::var(name).ok()).map(Self::Bash),
            ("zsh", words) => Some(Self::Zsh(at_home(words))),
            ("fish", words) => Some(Self::Fish(at_home(words))),
            _ => None,
        }
    }

    /// The words after the program's name.
    fn words(&self) -> &[String] {
        match self {
            Self::Bash(line) => &line.words[1..],
            Self::Zsh(words) | Self::Fish(words) => words,
        }
    }

    /// `value` as the shell wants to have it; `None` where it does not fit.
    fn answer(&self, value: &str, gap: &Gap) -> Option<String> {
        if gap.hyphens_are_options && value.starts_with('-') {
            return None;
        }
        match self {
            Self::Bash(line) => value.strip_prefix(&gap.begun).map(|rest| line.replacement(rest)),
            Self::Zsh(_) => Some(format!("{}{value}", gap.attached)),
            // What follows a tab would be the description of something else.
            Self::Fish(_) => Some(value.to_owned()).filter(|value| !value.contains('\t')),
        }
    }
}

/// The shells hand their words on as they were typed.
fn at_home(words: &[String]) -> Vec<String> {
    let home = std::env::var("HOME").unwrap_or_default();
    let expand = |word: &String| word.strip_prefix("~/").map_or_else(|| word.clone(), |rest| format!("{home}/{rest}"));
    words.iter().map(expand).collect()
}

/// What the words before say of the place of the locks, as `list` would have it.
fn place(gap: &Gap) -> Option<cli::List> {
    let definition = cli::List::augment_args(clap::Command::new("list")).no_binary_name(true);
    let belongs = |name: &str| {
        let not_the_voice = !["log-format", "color"].contains(&name);
        not_the_voice && definition.get_arguments().any(|arg| arg.get_long() == Some(name))
    };
    let options = gap.options.iter().filter(|(name, _)| belongs(name));
    let words: Vec<String> = options.map(|(name, value)| format!("--{name}={value}")).collect();
    cli::List::from_arg_matches(&definition.try_get_matches_from(words).ok()?).ok()
}

fn profiles(gap: &Gap) -> Vec<String> {
    let files = place(gap).map(|typed| typed.files).unwrap_or_default();
    Environment::inherited().profiles(&files)
}

/// The keys that are held or awaited, but for those that stand on the line already.
fn keys(gap: &Gap, question: &Question, send: impl FnOnce(Option<Vec<String>>)) {
    let Some(mut typed) = place(gap) else { return send(Some(Vec::new())) };
    // fish also offers what only contains the letters typed.
    let begun = if let Question::Fish(_) = question { "" } else { &gap.begun };
    typed.pattern = Some(format!("{}*", glob::Pattern::escape(begun)));
    let Ok(settings) = settings::list(&typed, &Environment::inherited()) else { return send(Some(Vec::new())) };
    let settings::Deployment { target, backend, namespace, .. } = &settings.deployment;
    if *backend == settings::BackendName::File && namespace.is_empty() {
        // Any file can be a key.
        return send(None);
    }
    let given = |key: &str| {
        let mut values = gap.options.iter().filter(|(name, _)| name == "key").map(|(_, value)| value);
        gap.words.iter().any(|word| word == key) || values.any(|value| value == key)
    };
    let is_pattern = gap.option.is_none() && gap.subcommand == "list";
    let runtime = super::event_loop();
    let (Ok(runtime), Ok(backend)) = (runtime, backend::open(target)) else { return send(Some(Vec::new())) };
    runtime.block_on(async {
        let found = backend.list(&settings.pattern).await.unwrap_or_default();
        let taken = found.iter().filter(|status| is_taken(status)).map(|status| status.key.as_str());
        let others = taken.filter(|key| !given(key));
        let as_typed = |key: &str| if is_pattern { glob::Pattern::escape(key) } else { key.to_owned() };
        send(Some(others.map(as_typed).collect()));
        backend.close().await;
    });
}
