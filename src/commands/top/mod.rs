//! `dlock top`: the namespace, live, on the whole terminal.

mod draw;
mod state;
mod taking;
mod terminal;

use std::ops::ControlFlow;
use std::rc::Rc;

use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures_util::StreamExt as _;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use crate::error::Error;
use crate::exit_code::Ending;
use crate::lock::KeyPattern;
use crate::report::{self, Stderr};
use crate::settings::{Color, Deployment, TopSettings};
use crate::sys::interrupt::Interrupts;
use crate::sys::signals::stop_by;
use crate::sys::window;

use super::watch::{Asker, EVERY, Question, may_pass};
use super::{INTERRUPTED_CLOSING_LIMIT, in_event_loop};
use draw::Paint;
use state::{Key, State, Step};
use terminal::WholeTerminal;

pub(super) fn top(settings: &TopSettings) -> Ending {
    let stderr = Stderr::new(settings.voice);
    in_event_loop(&settings.deployment, stderr, async || {
        let every_key = KeyPattern::new("*").expect("a star is a glob");
        let question = Question::List(&every_key);
        let mut asker = Asker::new(&question, &settings.deployment);
        let ending = top_with(&mut asker, settings).await;
        // Whoever quits does not wait for a server.
        timeout(INTERRUPTED_CLOSING_LIMIT, asker.close()).await.ok();
        ending
    })
}

async fn top_with(asker: &mut Asker<'_>, settings: &TopSettings) -> Result<Ending, Error> {
    // The terminal is taken when there is something to show: what is misspelt is said as anywhere else.
    let state = State::new(asker.ask().await?);
    // Before the keys are read: that takes a thread, which must leave the signals to us.
    let signals = Interrupts::of_a_whole_window().map_err(|error| Error::system("receive signals", error))?;
    let paint = if settings.voice.color == Color::Never { Paint::Plain } else { Paint::Styles };
    let terminal = WholeTerminal::take()?;
    let keys = EventStream::new();
    let mut top =
        Top { state, deployment: &settings.deployment, paint, terminal, signals, keys, decided: Rc::default() };
    loop {
        top.draw()?;
        let asked_at = Instant::now();
        let answer = match top.obeying(asker.ask()).await? {
            ControlFlow::Continue(answer) => answer,
            ControlFlow::Break(ending) => return Ok(ending),
        };
        match answer {
            Ok(statuses) => top.state.answered(statuses),
            Err(error) if may_pass(&error) => top.state.lost = Some(error.to_string()),
            Err(error) => return Err(error),
        }
        top.draw()?;
        let decided = Rc::clone(&top.decided);
        let pause = async {
            tokio::select! {
                () = sleep_until(asked_at + EVERY) => {}
                () = decided.notified() => {}
            }
        };
        if let ControlFlow::Break(ending) = top.obeying(pause).await? {
            return Ok(ending);
        }
        if let Some(taking) = top.state.decided.take() {
            let word = match top.obeying(asker.take_back(taking.key(), taking.holder())).await? {
                ControlFlow::Continue(done) => done.map_or_else(|error| error.to_string(), |done| taking.told(done)),
                ControlFlow::Break(ending) => return Ok(ending),
            };
            top.state.word = Some(word);
        }
    }
}

struct Top<'a> {
    state: State,
    deployment: &'a Deployment,
    paint: Paint,
    terminal: WholeTerminal,
    signals: Interrupts,
    keys: EventStream,
    /// A question has been answered with yes.
    decided: Rc<Notify>,
}

impl Top<'_> {
    fn draw(&mut self) -> Result<(), Error> {
        let picture = draw::picture(&mut self.state, self.deployment, window::size(), self.paint);
        report::print(&picture).map_err(|source| Error::Output { source })
    }

    /// Waits for `work`, and does meanwhile what keys and signals ask for.
    async fn obeying<T>(&mut self, work: impl Future<Output = T>) -> Result<ControlFlow<Ending, T>, Error> {
        let mut work = std::pin::pin!(work);
        loop {
            let step = tokio::select! {
                done = &mut work => return Ok(ControlFlow::Continue(done)),
                signal = self.signals.next() => self.obey(signal)?,
                event = self.keys.next() => match event {
                    Some(Ok(event)) => self.hear(&event)?,
                    Some(Err(error)) => return Err(Error::system("read the keyboard", error)),
                    // The terminal has gone.
                    None => ControlFlow::Break(Ending::Signal(libc::SIGHUP)),
                },
            };
            if let ControlFlow::Break(ending) = step {
                return Ok(ControlFlow::Break(ending));
            }
            self.draw()?;
        }
    }

    fn obey(&mut self, signal: i32) -> Result<ControlFlow<Ending>, Error> {
        match signal {
            libc::SIGTSTP => self.pause()?,
            libc::SIGWINCH => {}
            // Whoever had the terminal meanwhile may have changed it.
            libc::SIGCONT => self.terminal.without(|| {})?,
            // The terminal is given back before the process dies of it.
            _ => return Err(Error::Interrupted(signal)),
        }
        Ok(ControlFlow::Continue(()))
    }

    fn pause(&self) -> Result<(), Error> {
        self.terminal.without(|| stop_by(libc::SIGTSTP))
    }

    fn hear(&mut self, event: &Event) -> Result<ControlFlow<Ending>, Error> {
        let Event::Key(pressed) = event else { return Ok(ControlFlow::Continue(())) };
        if pressed.kind == KeyEventKind::Release {
            return Ok(ControlFlow::Continue(()));
        }
        if pressed.modifiers.contains(KeyModifiers::CONTROL) {
            // The keys that are signals on any other terminal.
            return match pressed.code {
                KeyCode::Char('c') => self.obey(libc::SIGINT),
                KeyCode::Char('z') => self.obey(libc::SIGTSTP),
                _ => Ok(ControlFlow::Continue(())),
            };
        }
        Ok(match meaning(pressed).map(|key| self.state.press(key)) {
            Some(Step::TakeBack) => {
                self.decided.notify_one();
                ControlFlow::Continue(())
            }
            Some(Step::Quit) => ControlFlow::Break(Ending::SUCCESS),
            Some(Step::Draw) | None => ControlFlow::Continue(()),
        })
    }
}

fn meaning(pressed: &KeyEvent) -> Option<Key> {
    Some(match pressed.code {
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::First,
        KeyCode::End => Key::Last,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Char(letter) => Key::Letter(letter),
        _ => return None,
    })
}
