//! The same question again and again, whatever becomes of the server: `--watch`, and what `top` stands on.

use std::io::{ErrorKind, IsTerminal as _};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use crate::backend;
use crate::error::{Attempt, Error};
use crate::exit_code::Ending;
use crate::lock::{HolderEntry, KeyPattern, LockBackend, LockKey, LockStatus, Manner, Revocation};
use crate::report::{self, Stderr, screen};
use crate::settings::{Deployment, ReportForm};
use crate::sys::interrupt::Interrupts;
use crate::sys::stdio::{STDERR, STDOUT, stdout_is_for_nobody};
use crate::sys::window;

use super::list::{is_taken, nothing_in};
use super::status::differences_of;
use super::{CLOSING_LIMIT, in_event_loop};

/// Times are shown in seconds; and a hundred people who watch cost a server as much as a handful of contenders.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// How long a connection that has failed may take to close, before another one is opened.
const GIVING_UP: Duration = Duration::from_millis(200);

/// What is asked.
pub(super) enum Question<'a> {
    Status(&'a [LockKey]),
    List(&'a KeyPattern),
}

/// Whoever asks it: over one connection for as long as that lasts, over another one after a failure.
pub(super) struct Asker<'a> {
    question: &'a Question<'a>,
    deployment: &'a Deployment,
    connected: Option<Box<dyn LockBackend>>,
}

impl<'a> Asker<'a> {
    pub(super) fn new(question: &'a Question<'a>, deployment: &'a Deployment) -> Self {
        Self { question, deployment, connected: None }
    }

    /// Asks once. Must not be dropped half-way if it is to be asked again.
    ///
    /// # Errors
    /// When the question could not be answered.
    pub(super) async fn ask(&mut self) -> Result<Vec<LockStatus>, Error> {
        let answer = self.attempt().await;
        if answer.is_err()
            && let Some(broken) = self.connected.take()
        {
            // One that does not close is dropped: its session ends by itself.
            timeout(GIVING_UP, broken.close()).await.ok();
        }
        answer
    }

    async fn attempt(&mut self) -> Result<Vec<LockStatus>, Error> {
        let failed = |attempt| move |error| Error::backend(attempt, error);
        let first = match self.question {
            Question::Status(keys) => Attempt::Status(keys[0].clone()),
            Question::List(_) => Attempt::List(self.deployment.namespace.clone()),
        };
        let backend = match &self.connected {
            Some(backend) => backend,
            None => self.connected.insert(backend::open(&self.deployment.target).map_err(failed(first.clone()))?),
        };
        match self.question {
            Question::Status(keys) => {
                let mut statuses = Vec::new();
                for key in *keys {
                    statuses.push(backend.status(key).await.map_err(failed(Attempt::Status(key.clone())))?);
                }
                Ok(statuses)
            }
            Question::List(pattern) => {
                let mut statuses = backend.list(pattern).await.map_err(failed(first))?;
                statuses.retain(is_taken);
                Ok(statuses)
            }
        }
    }

    /// Asks `holder` to give `key` back, or frees it where nobody can be asked. Must not be dropped half-way, either.
    ///
    /// # Errors
    /// When nobody knows whether that was done.
    pub(super) async fn take_back(&mut self, key: &LockKey, holder: &HolderEntry) -> Result<Revocation, Error> {
        let failed = |error| Error::backend(Attempt::TakeBack(key.clone()), error);
        let backend = match &self.connected {
            Some(backend) => backend,
            None => self.connected.insert(backend::open(&self.deployment.target).map_err(failed)?),
        };
        backend.revoke(key, holder, Manner::Asking).await.map_err(failed)
    }

    pub(super) async fn close(self) {
        if let Some(backend) = self.connected {
            timeout(CLOSING_LIMIT, backend.close()).await.ok();
        }
    }
}

/// Whether the server may come back and answer.
pub(super) fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Backend { source, .. } if source.may_pass())
}

/// Whether two answers tell of the same keys in the same state.
pub(super) fn are_the_same(one: &[LockStatus], other: &[LockStatus]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.tells_the_same_as(other))
}

/// Shows the answer at each change, until a signal ends the process or nobody reads any more.
///
/// The ending signals are left alone: they end the process at once, even while a reader keeps it waiting, and the modes
/// of the terminal were never changed.
pub(super) fn watch(question: &Question<'_>, form: ReportForm, deployment: &Deployment, stderr: Stderr) -> Ending {
    in_event_loop(deployment, stderr, async || {
        let mut asker = Asker::new(question, deployment);
        let ending = watch_with(&mut asker, View::new(form, deployment, stderr)).await;
        asker.close().await;
        match ending {
            // Whoever closed the pipe has seen enough.
            Err(Error::Output { source }) if source.kind() == ErrorKind::BrokenPipe => Ok(Ending::SUCCESS),
            ending => ending,
        }
    })
}

async fn watch_with(asker: &mut Asker<'_>, mut view: View<'_>) -> Result<Ending, Error> {
    let window = Interrupts::of_a_window().map_err(|error| Error::system("receive signals", error))?;
    loop {
        let asked_at = Instant::now();
        match view.redrawing(&window, asker.ask()).await? {
            Ok(statuses) => view.show(statuses)?,
            // What cannot be reached at first may be misspelt.
            Err(error) if may_pass(&error) && view.has_shown() => view.lose(&error)?,
            Err(error) => return Err(error),
        }
        view.redrawing(&window, sleep_until(asked_at + EVERY)).await?;
        if stdout_is_for_nobody() {
            return Ok(Ending::SUCCESS);
        }
    }
}

/// What is shown, and where.
struct View<'a> {
    form: ReportForm,
    deployment: &'a Deployment,
    stderr: Stderr,
    outlet: Outlet,
    /// The last answer; none before the first.
    shown: Option<Vec<LockStatus>>,
    /// Why there has been no answer since.
    lost: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outlet {
    /// The table in its place.
    Window,
    /// One after the other.
    Stream,
}

impl<'a> View<'a> {
    fn new(form: ReportForm, deployment: &'a Deployment, stderr: Stderr) -> Self {
        let understands_commands = std::env::var_os("TERM").is_none_or(|kind| kind != "dumb");
        let outlet = if form == ReportForm::Table && STDOUT.is_terminal() && understands_commands {
            Outlet::Window
        } else {
            Outlet::Stream
        };
        Self { form, deployment, stderr, outlet, shown: None, lost: None }
    }

    fn has_shown(&self) -> bool {
        self.shown.is_some()
    }

    /// Waits for `work`, and draws again whenever the window has changed its size or come back.
    async fn redrawing<T>(&self, window: &Interrupts, work: impl Future<Output = T>) -> Result<T, Error> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                _ = window.next() => self.draw()?,
            }
        }
    }

    fn show(&mut self, statuses: Vec<LockStatus>) -> Result<(), Error> {
        let changed = self.shown.as_ref().is_none_or(|shown| !are_the_same(shown, &statuses));
        let returned = self.lost.take().is_some();
        self.shown = Some(statuses);
        if returned {
            self.say("the server answers again");
        }
        if changed {
            self.shown.iter().flatten().flat_map(differences_of).for_each(|difference| self.say(&difference));
        }
        match self.outlet {
            // The times in it run.
            Outlet::Window => self.draw(),
            Outlet::Stream if changed || returned => self.print(),
            Outlet::Stream => Ok(()),
        }
    }

    fn lose(&mut self, error: &Error) -> Result<(), Error> {
        if self.lost.is_some() {
            return Ok(());
        }
        let sentence = format!("{error}; dlock goes on asking");
        self.say(&sentence);
        self.lost = Some(sentence);
        self.draw()
    }

    /// Says it on standard error, unless that is the window: there it is a part of what is drawn.
    fn say(&self, sentence: &str) {
        if !self.has_notes() {
            self.stderr.notice(sentence);
        }
    }

    fn has_notes(&self) -> bool {
        self.outlet == Outlet::Window && STDERR.is_terminal()
    }

    fn print(&self) -> Result<(), Error> {
        let statuses = self.shown.as_deref().unwrap_or_default();
        let text = match self.form {
            // A line between them: each is read by itself.
            ReportForm::Table => report::table(statuses) + "\n",
            ReportForm::Json => report::json::statuses(statuses, self.deployment),
        };
        put(&text)
    }

    fn draw(&self) -> Result<(), Error> {
        let (Outlet::Window, Some(statuses)) = (self.outlet, &self.shown) else { return Ok(()) };
        let mut lines: Vec<String> = report::table(statuses).lines().map(str::to_owned).collect();
        if statuses.is_empty() {
            lines.push(nothing_in(&self.deployment.namespace));
        }
        let notes = if self.has_notes() {
            let differences = statuses.iter().flat_map(differences_of);
            differences.chain(self.lost.clone()).map(|note| report::note(&note)).collect()
        } else {
            Vec::new()
        };
        put(&screen::frame(&lines, &notes, window::size()))
    }
}

fn put(text: &str) -> Result<(), Error> {
    report::print(text).map_err(|source| Error::Output { source })
}
