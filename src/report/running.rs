//! What is said of a lock while its command runs and when it ends.

use std::ffi::OsStr;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::event::{Event, Name};
use super::json::whole_ms;
use crate::error::phrase::{Escaped, Exact, Listed, Quoted, Rough};
use crate::lock::keep_alive::Ended;
use crate::lock::{BackendError, Keys, Lease, LockKey};
use crate::settings::{OnLost, RunSettings};

#[must_use]
pub fn acquired(lease: &Lease) -> Event {
    let key = Quoted(lease.key.as_str());
    let fence = lease.fence.map(|fence| format!(" with fencing token {fence}")).unwrap_or_default();
    // As granted, which may be another one than the default.
    let lasts = lease.renew_every.map(|_| format!(", lease {}", humantime::format_duration(lease.ttl)));
    let sentence = format!("acquired {key}{fence}{}", lasts.unwrap_or_default());
    let event = Event::new(Name::Acquired, sentence).of_key(&lease.key);
    event
        .with("fence", lease.fence.map(|fence| fence.0))
        .with("ttl_ms", whole_ms(lease.ttl))
        .with("holder_id", lease.token.id())
}

#[must_use]
pub fn renewed(key: &LockKey) -> Event {
    Event::new(Name::Renewed, format!("renewed {}", Quoted(key.as_str()))).of_key(key)
}

/// `left`: for how long the lease can still be believed.
#[must_use]
pub fn renewal_failed(key: &LockKey, error: &BackendError, left: Option<Duration>) -> Event {
    let left = left.unwrap_or_default();
    let sentence = format!(
        "cannot renew {}: {}; trying again, the lease lasts another {}",
        Quoted(key.as_str()),
        Escaped(&error.message),
        Rough(left)
    );
    let event = Event::new(Name::RenewalFailed, sentence).of_key(key);
    event.with("error", error.message.as_str()).with("lease_left_ms", whole_ms(left))
}

#[must_use]
pub fn released(key: &LockKey, stays_taken: Duration) -> Event {
    let quoted = Quoted(key.as_str());
    if stays_taken.is_zero() {
        return Event::new(Name::Released, format!("released {quoted}")).of_key(key);
    }
    let sentence = format!("released {quoted}, which stays taken for another {}", Rough(stays_taken));
    Event::new(Name::Released, sentence).of_key(key).with("stays_taken_ms", whole_ms(stays_taken))
}

/// A signal that reached dlock while the command ran, and what became of it.
#[must_use]
pub fn signalled(keys: &Keys, number: i32, passed_on: PassedOn) -> Event {
    let name = signal_name(number);
    let what = match passed_on {
        PassedOn::Forwarded => "passed it on to the command",
        PassedOn::HadItToo => "the command has it already",
        PassedOn::StopsTheRest => "stopping what the command left",
    };
    let event = Event::new(Name::Signalled, format!("got {name} while holding {}; {what}", Listed(keys)));
    event
        .of_keys(keys)
        .with("signal", name)
        .with("while", "holding")
        .with("forwarded", passed_on == PassedOn::Forwarded)
}

/// How a signal gets from dlock to the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassedOn {
    Forwarded,
    /// From the terminal, or from its own tree.
    HadItToo,
    /// There is no command left: what it has started is stopped.
    StopsTheRest,
}

/// A signal that ended the wait for the lock.
#[must_use]
pub fn interrupted(key: &LockKey, number: i32) -> Event {
    let name = signal_name(number);
    let event = Event::new(Name::Signalled, format!("got {name} while waiting for {}", Quoted(key.as_str())));
    event.with("keys", vec![key.as_str()]).with("signal", name).with("while", "waiting").with("forwarded", false)
}

fn signal_name(number: i32) -> String {
    Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |signal| signal.as_str().to_owned())
}

/// Said at the instant of loss, while the command runs.
#[must_use]
pub fn lost(settings: &RunSettings, key: &LockKey, ended: &std::io::Result<Ended>) -> Event {
    let name = Quoted(key.as_str());
    let (reason, why) = reason(ended);
    let program = settings.program.to_string_lossy();
    let program = Quoted(&program);
    let (action, then) = match (settings.stopping.on_lost, ended) {
        (OnLost::Warn, Ok(Ended::Unrenewed(_) | Ended::Lost | Ended::Stopped)) => {
            ("none", format!("{program} runs on without it"))
        }
        (OnLost::Kill, Ok(Ended::Lost | Ended::Stopped)) => ("kill", format!("killing {program}")),
        _ => ("stop", format!("stopping {program}")),
    };
    let event = Event::new(Name::Lost, format!("lost {name}: {why}; {then}")).of_key(key);
    event.with("reason", reason).with("action", action)
}

fn reason(ended: &std::io::Result<Ended>) -> (&'static str, String) {
    match ended {
        Ok(Ended::Unrenewed(Some(error))) => {
            ("unrenewed", format!("it could not be renewed in time ({})", Escaped(&error.message)))
        }
        Ok(Ended::Unrenewed(None)) => ("expired", "its lease ran out while dlock was not running".to_owned()),
        Ok(Ended::Revoked) => ("revoked", "an operator asked for it back".to_owned()),
        Ok(Ended::Lost | Ended::Stopped) => {
            ("not_held", "it is not held by this command any more (deleted, expired or taken)".to_owned())
        }
        Err(error) => ("defect", format!("it cannot be renewed ({error})")),
    }
}

/// Of the command there is only what it has left behind, which is awaited: its own status stands.
#[must_use]
pub fn lost_late(settings: &RunSettings, key: &LockKey, ended: &std::io::Result<Ended>) -> String {
    let program = settings.program.to_string_lossy();
    let (name, program, (_, why)) = (Quoted(key.as_str()), Quoted(&program), reason(ended));
    let then = match (settings.stopping.on_lost, ended) {
        (OnLost::Warn, Ok(Ended::Unrenewed(_) | Ended::Lost | Ended::Stopped)) => {
            "what it left running runs on without it"
        }
        _ => "stopping what it left running",
    };
    format!("lost {name} after {program} had ended: {why}; {then}")
}

/// An operator wants it back, and of the command there is only what it has left behind.
#[must_use]
pub fn asked_back_late(key: &LockKey) -> String {
    format!("an operator asked for {} back; stopping what still uses it", Quoted(key.as_str()))
}

/// Said when the command is asked to end.
#[must_use]
pub fn timed_out(program: &OsStr, limit: Option<Duration>) -> Event {
    let (program, limit) = (program.to_string_lossy(), limit.unwrap_or_default());
    let sentence = format!("{} has run for --max-runtime {}; stopping it", Quoted(&program), Exact(limit));
    Event::new(Name::TimedOut, sentence).with("command", &*program).with("limit_ms", whole_ms(limit))
}

/// Said soon after the start of a command that became another user.
#[must_use]
pub fn out_of_reach(program: &OsStr) -> Event {
    let program = program.to_string_lossy();
    let name = Quoted(&program);
    let sentence =
        format!("{name} runs as another user, and dlock could not stop it; write: sudo dlock run … -- COMMAND");
    Event::new(Name::OutOfReach, sentence).with("command", &*program)
}

/// The release found the lock gone although nothing had told us so.
#[must_use]
pub fn was_not_ours(key: &LockKey) -> Event {
    let sentence = format!("lost {}: when the command ended it was not held by it any more", Quoted(key.as_str()));
    Event::new(Name::Lost, sentence).of_key(key).with("reason", "not_held").with("action", "none")
}

/// The same, but of a lock that was still ours after the command's end, while what it had left running was awaited.
#[must_use]
pub fn gone_late(key: &LockKey) -> String {
    let name = Quoted(key.as_str());
    format!("{name} was taken away after the command had ended, while what it left running was awaited")
}

/// `left`: for how long others are still kept out.
#[must_use]
pub fn not_released(key: &LockKey, error: &BackendError, left: Option<Duration>) -> Event {
    let name = Quoted(key.as_str());
    let reason = Escaped(&error.message);
    let sentence = match left {
        Some(left) => format!("cannot release {name}: {reason}; it stays taken for up to {}", Rough(left)),
        None => format!("cannot release {name}: {reason}"),
    };
    let event = Event::new(Name::NotReleased, sentence).of_key(key);
    event.with("error", error.message.as_str()).with("lease_left_ms", left.map(whole_ms))
}

/// Whether the lock is still held while something does not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Held,
    Lost,
}

/// Said once a minute while this user may not end them.
#[must_use]
pub fn may_not_end(keys: &Keys, survivors: &str, standing: Standing) -> Event {
    let until = until_then(keys, standing);
    let sentence = format!("cannot end process {}: not permitted; end it as its own user, {until}", Escaped(survivors));
    not_ending(keys, sentence, survivors, standing).with("reason", "not_permitted")
}

/// Said once a minute while they were killed and are still there.
#[must_use]
pub fn does_not_end(keys: &Keys, survivors: &str, standing: Standing) -> Event {
    let until = until_then(keys, standing);
    let named = Escaped(survivors);
    let sentence = format!(
        "process {named} was killed, and waits in the kernel for a disk or a network; look after that, {until}"
    );
    not_ending(keys, sentence, survivors, standing).with("reason", "in_the_kernel")
}

fn not_ending(keys: &Keys, sentence: String, survivors: &str, standing: Standing) -> Event {
    let event = Event::new(Name::NotEnding, sentence).of_keys(keys);
    event.with("processes", survivors).with("held", standing == Standing::Held)
}

fn until_then(keys: &Keys, standing: Standing) -> String {
    let listed = Listed(keys);
    match (standing, keys.as_slice().len()) {
        (Standing::Held, 1) => format!("{listed} stays held until then"),
        (Standing::Held, _) => format!("{listed} stay held until then"),
        (Standing::Lost, 1) => format!("{listed} is lost and may have another holder already"),
        (Standing::Lost, _) => format!("{listed} are lost and may have other holders already"),
    }
}

/// The command ended, and a run inside it has not.
#[must_use]
pub fn still_used(program: &OsStr, keys: &Keys) -> String {
    let program = program.to_string_lossy();
    let stays = if keys.as_slice().len() == 1 { "stays" } else { "stay" };
    format!(
        "{} ended, and a dlock run inside it still uses {}, which {stays} held until that ends",
        Quoted(&program),
        Listed(keys)
    )
}

/// The command ended of its own accord, and something that it started did not.
#[must_use]
pub fn left_running(program: &OsStr, count: usize) -> Event {
    let program = program.to_string_lossy();
    let processes = if count == 1 { "1 process".to_owned() } else { format!("{count} processes") };
    let sentence = format!("{} ended and left {processes} running, which the lock no longer covers", Quoted(&program));
    Event::new(Name::LeftRunning, sentence).with("command", &*program).with("processes", count)
}
