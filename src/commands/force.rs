//! `dlock release --force`: take locks from whoever holds them, and from nobody else than was shown.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::error::{Attempt, Error};
use crate::exit_code::{Ending, NO};
use crate::lock::{
    BackendError, ErrorKind, HolderEntry, LockBackend, LockKey, LockState, LockStatus, Manner, Phase, Revocation,
};
use crate::report::Stderr;
use crate::report::revocation::{self, Departure};
use crate::settings::{Consent, ForceSettings};
use crate::sys::stdio::{STDERR, write_all};

use super::{all_that_can, one_shot};

/// How often we look whether the holder has gone: sooner than a person notices, and one look is one question.
const LOOK: Duration = Duration::from_millis(200);

/// How often somebody who waits hears that there is something to wait for.
const REMINDER: Duration = Duration::from_secs(60);

pub(super) fn force(settings: &ForceSettings) -> Ending {
    let stderr = Stderr::new(settings.voice);
    let attempt = Attempt::TakeBack(settings.keys.first().clone());
    one_shot(&settings.deployment, stderr, attempt, async |backend| {
        let forcing = Forcing { backend, settings, stderr, refused: Cell::new(false) };
        let done = all_that_can(&settings.keys, stderr, async |key| forcing.take_back(key).await).await?;
        Ok(if forcing.refused.get() { Ending::Status(NO) } else { done })
    })
}

struct Forcing<'a> {
    backend: &'a dyn LockBackend,
    settings: &'a ForceSettings,
    stderr: Stderr,
    /// Somebody said no.
    refused: Cell<bool>,
}

impl Forcing<'_> {
    async fn take_back(&self, key: &LockKey) -> Result<(), Error> {
        let failed = |error| Error::backend(Attempt::TakeBack(key.clone()), error);
        let status = match self.backend.status(key).await {
            Err(error) if error.kind == ErrorKind::Corrupt => return self.mend(key, &error).await,
            status => status.map_err(failed)?,
        };
        if is_free(&status) {
            self.stderr.notice(revocation::nobody_holds(key));
            return Ok(());
        }
        let chosen = self.choose(&status)?;
        let manner = self.settings.manner;
        let shown = revocation::shown(key, chosen);
        if !self.is_agreed(&shown, &revocation::question(key, chosen.phase, manner)).await? {
            return Ok(());
        }
        match self.backend.revoke(key, chosen, manner).await.map_err(failed)? {
            Revocation::Changed => self.changed(key).await,
            Revocation::Freed => {
                self.stderr.notice(revocation::freed(key, chosen));
                Ok(())
            }
            Revocation::Asked => self.until_gone(key, chosen).await,
        }
    }

    /// Whom to take it from.
    fn choose<'s>(&self, status: &'s LockStatus) -> Result<&'s HolderEntry, Error> {
        let not_there = |reason| Error::NotTheHolder { key: status.key.clone(), reason };
        match (&self.settings.id, &status.holders[..]) {
            (None, [only]) => Ok(only),
            (None, []) => Err(not_there(revocation::held_by_others(status))),
            (None, _) => Err(Error::usage(revocation::which_one(status))),
            (Some(id), holders) => holders.iter().find(|holder| holder.id == *id).ok_or_else(|| {
                not_there(format!("nobody who holds it has the id {id}: {}", revocation::held_by_others(status)))
            }),
        }
    }

    /// Shows what is going to be done, and whether somebody wants that.
    async fn is_agreed(&self, shown: &str, question: &str) -> Result<bool, Error> {
        if self.settings.consent == Consent::Given {
            self.stderr.notice(shown);
            return Ok(true);
        }
        // For a person, in whatever form the rest is written.
        let asked = write_all(STDERR, format!("dlock: {shown}\n{question} [y/N] ").as_bytes());
        asked.map_err(|error| Error::system("ask on the terminal", error))?;
        // In a thread: a session that is open has to be kept alive meanwhile.
        let answer = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map(|_| line)
        });
        let answer = answer.await.expect("reading a line does not panic");
        let answer = answer.map_err(|error| Error::system("read the answer", error))?;
        if !answer.ends_with('\n') {
            // The end of the input is no, and its line is still open.
            write_all(STDERR, b"\n").ok();
        }
        let is_yes = matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
        if !is_yes {
            self.refused.set(true);
            self.stderr.notice("nothing was done");
        }
        Ok(is_yes)
    }

    async fn mend(&self, key: &LockKey, broken: &BackendError) -> Result<(), Error> {
        if !self.is_agreed(&revocation::unreadable(key, &broken.message), revocation::REWRITE).await? {
            return Ok(());
        }
        let mended = self.backend.mend(key).await;
        mended.map_err(|error| Error::backend(Attempt::TakeBack(key.clone()), error))?;
        self.stderr.notice(revocation::rewritten(key));
        Ok(())
    }

    /// Somebody else holds it by now, or nobody.
    async fn changed(&self, key: &LockKey) -> Result<(), Error> {
        let status = self.backend.status(key).await;
        let status = status.map_err(|error| Error::backend(Attempt::TakeBack(key.clone()), error))?;
        if is_free(&status) {
            self.stderr.notice(revocation::nobody_holds(key));
            return Ok(());
        }
        Err(Error::NotTheHolder { key: key.clone(), reason: revocation::held_by_others(&status) })
    }

    /// Waits until the holder that was asked has gone.
    async fn until_gone(&self, key: &LockKey, asked: &HolderEntry) -> Result<(), Error> {
        self.stderr.notice(revocation::asked(key, asked));
        let began = Instant::now();
        let (mut remind_at, mut is_away) = (began + REMINDER, false);
        let mut lease_ends = None;
        loop {
            sleep(LOOK).await;
            let looked = Instant::now();
            let found = match self.look(key, asked).await {
                Ok(found) => found,
                // It may answer again, and the mark stands.
                Err(error) if error.may_pass() => {
                    if !std::mem::replace(&mut is_away, true) {
                        self.stderr.notice(revocation::unanswered(&error.message));
                    }
                    continue;
                }
                Err(error) => return Err(Error::backend(Attempt::TakeBack(key.clone()), error)),
            };
            is_away = false;
            let Some(still) = found else {
                let departure = match lease_ends {
                    None => Departure::Unknown,
                    Some(end) if end <= looked => Departure::RanOut,
                    Some(_) => Departure::GaveUp,
                };
                self.stderr.notice(revocation::gone(key, asked, departure, began.elapsed()));
                return Ok(());
            };
            lease_ends = still.remaining.map(|left| looked + left).or(lease_ends);
            if looked >= remind_at {
                remind_at += REMINDER;
                self.stderr.notice(revocation::not_yet(key, asked, began.elapsed()));
            }
        }
    }

    /// The holder as it is now; `None`: it is one no more. A mark that was lost on the way is set again.
    async fn look(&self, key: &LockKey, asked: &HolderEntry) -> Result<Option<HolderEntry>, BackendError> {
        let status = self.backend.status(key).await?;
        // By the id alone: what is left of a lock in two places tells another token.
        let found = status.holders.into_iter().find(|holder| holder.id == asked.id);
        // A lock delay after its lease is for one that did not stop, and is not cut short.
        let is_marked = |holder: &HolderEntry| matches!(holder.phase, Phase::Revoked | Phase::LockDelay);
        let is_marked = found.as_ref().is_none_or(is_marked);
        if !is_marked && self.backend.revoke(key, asked, Manner::Asking).await? != Revocation::Asked {
            return Ok(None);
        }
        Ok(found)
    }
}

fn is_free(status: &LockStatus) -> bool {
    status.state == LockState::Free && status.holders.is_empty()
}
