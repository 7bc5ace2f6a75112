//! What happened, one line each, in a file that the jobs, the nemesis and the crew write together.
//!
//! A line is `NANOSECONDS WORD…`, by CLOCK_BOOTTIME, which all processes of a machine share:
//!
//! * `start JOB KEY MODE CODE MANNER`: a dlock process is about to be started; what its command is going to return;
//! * `began JOB FENCE`, `tick JOB`, `end JOB`: the command under the lock, by itself; `-` where there is no fence;
//! * `exit JOB code:N` or `exit JOB signal:N`: the dlock process has ended;
//! * `fault KIND SCOPE`, `calm KIND SCOPE`: something befalls `job:NAME`, `key:NAME`, the `server`, or a `minority` of
//!   several, and is over;
//! * `left WHAT`: found when all was over, and nothing should be.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use dlock::sys::boottime::BootInstant;

/// Nanoseconds of CLOCK_BOOTTIME.
pub(super) type Nanos = u64;

/// Appends lines; as many as like may write to one file, also from other processes.
#[derive(Debug)]
pub(super) struct Scribe(File);

impl Scribe {
    pub(super) fn new(path: &Path) -> Self {
        Self(OpenOptions::new().create(true).append(true).open(path).expect("the history can be written"))
    }

    pub(super) fn note(&self, event: impl Display) {
        let line = format!("{} {event}\n", BootInstant::now().as_nanos());
        // One write, so that no other line gets into it.
        (&self.0).write_all(line.as_bytes()).expect("the history can be written");
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Exclusive,
    Shared,
    Slots(usize),
}

impl Mode {
    pub(super) fn options(self) -> Vec<String> {
        match self {
            Self::Exclusive => Vec::new(),
            Self::Shared => vec!["--shared".to_owned()],
            Self::Slots(total) => vec!["--slots".to_owned(), total.to_string()],
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "exclusive" => Self::Exclusive,
            "shared" => Self::Shared,
            _ => Self::Slots(word.strip_prefix("slots:")?.parse().ok()?),
        })
    }
}

impl Display for Mode {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exclusive => f.write_str("exclusive"),
            Self::Shared => f.write_str("shared"),
            Self::Slots(total) => write!(f, "slots:{total}"),
        }
    }
}

/// Whether it waits for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    Waits,
    /// `-n`.
    Passes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Code(i32),
    Signal(i32),
}

/// One dlock process and its command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) name: String,
    pub(super) key: String,
    pub(super) mode: Mode,
    pub(super) code: i32,
    pub(super) patience: Patience,
    pub(super) started: Nanos,
    pub(super) stay: Option<Stay>,
    pub(super) ended: Option<(Nanos, Ended)>,
}

/// The command of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stay {
    pub(super) fence: Option<u64>,
    pub(super) began: Nanos,
    /// When it or anything that it started last did something.
    pub(super) last: Nanos,
    /// When the command itself came to its end, unless something else ended it.
    pub(super) end: Option<Nanos>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    Job(String),
    Key(String),
    Server,
    /// So few of several servers that the others go on.
    Minority,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: String,
    pub(super) scope: Scope,
    pub(super) from: Nanos,
    pub(super) until: Nanos,
}

#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) jobs: BTreeMap<String, Job>,
    pub(super) faults: Vec<Fault>,
    pub(super) left: Vec<String>,
    /// Of the first line.
    pub(super) from: Nanos,
    /// Of the last line.
    pub(super) until: Nanos,
}

impl History {
    /// # Panics
    /// When a line is none: it is evidence, so nothing of it is passed over.
    pub(super) fn parse(text: &str) -> Self {
        let mut history = Self::default();
        // Several write: a line may stand before one that is older.
        let mut lines: Vec<(Nanos, &str)> = text
            .lines()
            .map(|line| {
                let (at, event) = line.split_once(' ').unwrap_or_else(|| panic!("{line:?} is no line of a history"));
                (at.parse().unwrap_or_else(|e| panic!("{line:?}: {e}")), event)
            })
            .collect();
        lines.sort_by_key(|(at, _)| *at);
        history.from = lines.first().map_or(0, |(at, _)| *at);
        for (at, event) in lines {
            history.take(at, event).unwrap_or_else(|| panic!("{event:?} is no event of a history"));
            history.until = at;
        }
        for fault in history.faults.iter_mut().filter(|fault| fault.until == Nanos::MAX) {
            fault.until = history.until;
        }
        history
    }

    fn take(&mut self, at: Nanos, event: &str) -> Option<()> {
        let words: Vec<&str> = event.split(' ').collect();
        match words[..] {
            ["start", name, key, mode, code, manner] => {
                let job = Job {
                    name: name.to_owned(),
                    key: key.to_owned(),
                    mode: Mode::parse(mode)?,
                    code: code.parse().ok()?,
                    patience: if manner == "passes" { Patience::Passes } else { Patience::Waits },
                    started: at,
                    stay: None,
                    ended: None,
                };
                self.jobs.insert(job.name.clone(), job);
            }
            ["began", name, fence] => {
                let fence = if fence == "-" { None } else { Some(fence.parse().ok()?) };
                self.jobs.get_mut(name)?.stay = Some(Stay { fence, began: at, last: at, end: None });
            }
            ["tick", name] => self.stay(name)?.last = at,
            ["end", name] => {
                let stay = self.stay(name)?;
                (stay.last, stay.end) = (at, Some(at));
            }
            ["exit", name, how] => {
                let (kind, number) = how.split_once(':')?;
                let number = number.parse().ok()?;
                let ended = if kind == "code" { Ended::Code(number) } else { Ended::Signal(number) };
                self.jobs.get_mut(name)?.ended = Some((at, ended));
            }
            ["fault", kind, scope] => {
                let fault = Fault { kind: kind.to_owned(), scope: Scope::parse(scope)?, from: at, until: Nanos::MAX };
                self.faults.push(fault);
            }
            ["calm", kind, scope] => {
                let scope = Scope::parse(scope)?;
                let is_meant = |fault: &&mut Fault| fault.kind == kind && fault.scope == scope;
                self.faults.iter_mut().rev().find(is_meant)?.until = at;
            }
            ["left", ..] => self.left.push(event.to_owned()),
            ["over"] => {}
            _ => return None,
        }
        Some(())
    }

    fn stay(&mut self, name: &str) -> Option<&mut Stay> {
        self.jobs.get_mut(name)?.stay.as_mut()
    }
}

impl Scope {
    fn parse(word: &str) -> Option<Self> {
        Some(match word.split_once(':') {
            Some(("job", name)) => Self::Job(name.to_owned()),
            Some(("key", name)) => Self::Key(name.to_owned()),
            _ if word == "server" => Self::Server,
            _ if word == "minority" => Self::Minority,
            _ => return None,
        })
    }

    /// Whether what befalls it may show in `job`.
    pub(super) fn covers(&self, job: &Job) -> bool {
        match self {
            Self::Job(name) => *name == job.name,
            Self::Key(key) => *key == job.key,
            Self::Server | Self::Minority => true,
        }
    }
}

/// The lines from `from` to `until` that concern `key`; of the signs of life of a job only the first and the last.
pub(super) fn window(text: &str, history: &History, key: &str, from: Nanos, until: Nanos) -> String {
    let concerns = |event: &str| {
        let words: Vec<&str> = event.split(' ').collect();
        match words[..] {
            ["fault" | "calm", _, scope] => Scope::parse(scope).is_some_and(|scope| match scope {
                Scope::Job(name) => history.jobs.get(&name).is_some_and(|job| job.key == key),
                Scope::Key(other) => other == key,
                Scope::Server | Scope::Minority => true,
            }),
            [_, name, ..] => history.jobs.get(name).is_some_and(|job| job.key == key),
            _ => false,
        }
    };
    let mut lines: Vec<(Nanos, &str)> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(at, event)| Some((at.parse().ok()?, event)))
        .filter(|(at, event)| (from..=until).contains(at) && concerns(event))
        .collect();
    lines.sort_by_key(|(at, _)| *at);
    let ticks = |event: &str| lines.iter().filter(|(_, other)| *other == event).map(|(at, _)| *at).collect::<Vec<_>>();
    let mut shown = String::new();
    for (at, event) in &lines {
        if event.starts_with("tick ") {
            let all = ticks(event);
            if *at != all[0] && Some(at) != all.last() {
                continue;
            }
        }
        let seconds = std::time::Duration::from_nanos(at - from).as_secs_f64();
        shown += &format!("  {seconds:9.4} s  {event}\n");
    }
    shown
}
