//! The waiting line: whom we wait for, as last seen.

use std::fmt::{self, Display};
use std::time::Duration;

use super::event::{Event, Name};
use super::json::whole_ms;
use super::{Stderr, transient};
use crate::error::phrase::{HeldBy, Quoted, Rough};
use crate::lock::{LockKey, Progress};
use crate::settings::Volume;

/// Shorter waits go unmentioned: cron mails every line.
const SILENT_FOR: Duration = Duration::from_secs(1);

/// On a terminal the seconds run.
const REDRAWN_EVERY: Duration = Duration::from_secs(1);

/// In a log a line a minute shows that somebody still waits.
const REPEATED_EVERY: Duration = Duration::from_secs(60);

/// Says that we wait. On a terminal one line, redrawn each second; elsewhere one line, then one a minute.
#[derive(Debug)]
pub struct WaitingLine {
    place: Place,
    /// How long we had waited when the line was last said.
    said_at: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Terminal,
    Log(Stderr),
    Nowhere,
}

impl WaitingLine {
    #[must_use]
    pub fn new(stderr: Stderr) -> Self {
        let place = match stderr.voice().volume {
            Volume::Quiet => Place::Nowhere,
            _ if transient::has_room(stderr) => Place::Terminal,
            _ => Place::Log(stderr),
        };
        Self { place, said_at: None }
    }

    /// Says it when it is time to; to be called whenever the news change, and after [`Self::due_in`].
    pub fn update(&mut self, key: &LockKey, news: &Progress, waited: Duration) {
        if !self.due_in(waited).is_zero() {
            return;
        }
        self.said_at = Some(waited);
        let words = Waiting { key, news, waited };
        match self.place {
            Place::Terminal => transient::draw(&words.to_string()),
            Place::Log(stderr) => stderr.wait(&words.event()),
            Place::Nowhere => {}
        }
    }

    /// How long the caller may sleep before the line is to be said again.
    #[must_use]
    pub fn due_in(&self, waited: Duration) -> Duration {
        let every = match self.place {
            Place::Terminal => REDRAWN_EVERY,
            Place::Log(_) => REPEATED_EVERY,
            Place::Nowhere => Duration::MAX,
        };
        let due_at = match self.said_at {
            None if self.place == Place::Nowhere => Duration::MAX,
            None => SILENT_FOR,
            Some(said_at) => said_at.saturating_add(every),
        };
        due_at.saturating_sub(waited)
    }

    /// Takes the line off the terminal. To be called before anything else is printed, and at the end.
    pub fn clear(&mut self) {
        if self.place == Place::Terminal && self.said_at.is_some() {
            transient::erase();
        }
    }
}

struct Waiting<'a> {
    key: &'a LockKey,
    news: &'a Progress,
    waited: Duration,
}

impl Waiting<'_> {
    fn event(&self) -> Event {
        let event =
            Event::new(Name::Waiting, self.to_string()).of_key(self.key).with("waited_ms", whole_ms(self.waited));
        match self.news {
            Progress::Waiting(contention) => event.of_contention(contention),
            Progress::Disconnected(error) => event.with("disconnected", error.message.as_str()),
        }
    }
}

impl Display for Waiting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waiting for {}: ", Quoted(self.key.as_str()))?;
        match self.news {
            Progress::Waiting(contention) => {
                write!(f, "{}", HeldBy(contention))?;
                match contention.ahead {
                    Some(0) => f.write_str(", you are next")?,
                    Some(ahead) => write!(f, ", {ahead} ahead of you")?,
                    None => {}
                }
            }
            Progress::Disconnected(error) => write!(f, "connection lost, trying again ({error})")?,
        }
        write!(f, ", {}", Rough(self.waited))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{BackendError, Contention, Holder};
    use crate::settings::Voice;

    fn line(place: Place) -> WaitingLine {
        WaitingLine { place, said_at: None }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_names_holder_place_in_the_queue_and_time() {
        let key = LockKey::new("job").expect("a key");
        let holder = Holder {
            host: Some("web-3".into()),
            pid: Some(812),
            user: Some("root".into()),
            command: Some("backup.sh".into()),
            label: None,
        };
        let held_for = Some(seconds(250));
        let contention = Contention { holder: Some(holder), held_for, ahead: Some(2), ..Contention::default() };
        let words = Waiting { key: &key, news: &Progress::Waiting(contention), waited: seconds(12) };
        assert_eq!(
            words.to_string(),
            r#"waiting for "job": held by root@web-3 pid 812 (backup.sh) for 4m 10s, 2 ahead of you, 12s"#
        );
        let lost = Progress::Disconnected(BackendError::unavailable("redis r1:6379 closed the connection"));
        let words = Waiting { key: &key, news: &lost, waited: seconds(3) };
        assert_eq!(
            words.to_string(),
            r#"waiting for "job": connection lost, trying again (redis r1:6379 closed the connection), 3s"#
        );
    }

    #[test]
    fn the_first_second_is_silent_everywhere() {
        for place in [Place::Terminal, Place::Log(Stderr::new(Voice::NORMAL))] {
            assert_eq!(line(place).due_in(Duration::from_millis(400)), Duration::from_millis(600), "{place:?}");
            assert!(line(place).due_in(seconds(1)).is_zero(), "{place:?}");
        }
    }

    #[test]
    fn a_terminal_is_redrawn_each_second_and_a_log_gets_a_line_a_minute() {
        let mut terminal = line(Place::Terminal);
        terminal.said_at = Some(seconds(1));
        assert_eq!(terminal.due_in(Duration::from_millis(1500)), Duration::from_millis(500));
        let mut log = line(Place::Log(Stderr::new(Voice::NORMAL)));
        log.said_at = Some(seconds(1));
        assert_eq!(log.due_in(seconds(2)), seconds(59));
        assert!(log.due_in(seconds(61)).is_zero());
    }

    #[test]
    fn a_quiet_wait_says_nothing_ever() {
        assert!(!line(Place::Nowhere).due_in(seconds(1_000_000)).is_zero());
    }
}
