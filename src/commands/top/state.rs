//! What `top` shows and what a key changes about it: pure, so that every key can be tried without a terminal.

use std::cmp::Reverse;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use super::taking::Taking;
use crate::lock::{HolderEntry, KeyPattern, LockKey, LockStatus};

/// A key of the keyboard that means something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Enter,
    Escape,
    Backspace,
    Letter(char),
}

/// What the whole window shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scene {
    Table,
    /// The table while its filter is typed.
    Filtering,
    /// One key; the number of lines that are scrolled past.
    Inspecting(usize),
    /// Whether the lock is to be taken from its holder.
    Asking,
    Help,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Key,
    /// Who has held longest, first.
    Since,
    /// The longest queue first.
    Waiters,
    /// What ends soonest, first.
    Lease,
}

impl Order {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Since => "since",
            Self::Waiters => "waiters",
            Self::Lease => "lease",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Key => Self::Since,
            Self::Since => Self::Waiters,
            Self::Waiters => Self::Lease,
            Self::Lease => Self::Key,
        }
    }

    fn sort(self, rows: &mut [&LockStatus]) {
        match self {
            Self::Key => rows.sort_by_key(|status| &status.key),
            Self::Since => rows.sort_by_key(|status| (age(status), &status.key)),
            Self::Waiters => rows.sort_by_key(|status| (Reverse(status.waiters.len()), &status.key)),
            Self::Lease => rows.sort_by_key(|status| (lease(status), &status.key)),
        }
    }
}

/// The longest-held first; by the beginning where only that is known; what nobody knows last.
fn age(status: &LockStatus) -> (bool, Reverse<Duration>, Option<SystemTime>) {
    let longest = status.holders.iter().filter_map(|holder| holder.held_for).max();
    let since = status.holders.iter().filter_map(|holder| holder.since).min();
    (longest.is_none() && since.is_none(), Reverse(longest.unwrap_or_default()), since)
}

fn lease(status: &LockStatus) -> Duration {
    let remaining = |holder: &HolderEntry| holder.remaining;
    status.holders.iter().filter_map(remaining).min().unwrap_or(Duration::MAX)
}

/// What is to be done about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Draw,
    /// [`State::decided`] is to be done.
    TakeBack,
    Quit,
}

#[derive(Debug)]
pub(super) struct State {
    answer: Vec<LockStatus>,
    pub(super) order: Order,
    pub(super) filter: String,
    pub(super) scene: Scene,
    /// The key, so that the selection stays with it when rows come, go and change places.
    selected: Option<LockKey>,
    /// Where it was last, for when it is gone.
    position: usize,
    /// Why there has been no answer since the one that is shown.
    pub(super) lost: Option<String>,
    /// What became of the last thing that was done, until the next key.
    pub(super) word: Option<String>,
    /// The question of [`Scene::Asking`].
    pub(super) taking: Option<Taking>,
    /// The same, answered with yes and not done yet.
    pub(super) decided: Option<Taking>,
    /// How many rows the window had for keys when it was last drawn, and the first of those shown.
    page: usize,
    top: usize,
}

impl State {
    pub(super) fn new(answer: Vec<LockStatus>) -> Self {
        let mut state = Self {
            answer: Vec::new(),
            order: Order::Key,
            filter: String::new(),
            scene: Scene::Table,
            selected: None,
            position: 0,
            lost: None,
            word: None,
            taking: None,
            decided: None,
            page: 1,
            top: 0,
        };
        state.answered(answer);
        state
    }

    pub(super) fn answered(&mut self, answer: Vec<LockStatus>) {
        self.answer = answer;
        self.lost = None;
        // The key that is inspected is looked for by its name, and may come back.
        if !matches!(self.scene, Scene::Inspecting(_) | Scene::Asking) {
            self.settle();
        }
    }

    /// How many keys there are, with those that are filtered out.
    pub(super) fn count(&self) -> usize {
        self.answer.len()
    }

    /// The keys to show, in order.
    pub(super) fn rows(&self) -> Vec<&LockStatus> {
        let is_glob = self.filter.contains(['*', '?', '[']);
        let pattern = if is_glob { KeyPattern::new(&self.filter).ok() } else { None };
        let mut rows: Vec<&LockStatus> = self.answer.iter().collect();
        rows.retain(|status| match &pattern {
            Some(pattern) => pattern.matches(&status.key),
            // A glob that is not finished yet is a text like any other.
            None => status.key.as_str().contains(&self.filter),
        });
        self.order.sort(&mut rows);
        rows
    }

    /// The place of the selection among the rows.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// Which of the rows are shown where there is room for `page` of them: as before, unless the selection has moved out.
    pub(super) fn visible(&mut self, page: usize) -> Range<usize> {
        let count = self.rows().len();
        self.page = page.max(1);
        let lowest = (self.position + 1).saturating_sub(self.page);
        self.top = self.top.clamp(lowest, self.position.max(lowest)).min(count.saturating_sub(self.page));
        self.top..(self.top + self.page).min(count)
    }

    /// The key that is selected, and its state if anybody still holds or awaits it.
    pub(super) fn selected(&self) -> (Option<&LockKey>, Option<&LockStatus>) {
        let status = self.answer.iter().find(|status| Some(&status.key) == self.selected.as_ref());
        (self.selected.as_ref(), status)
    }

    pub(super) fn press(&mut self, key: Key) -> Step {
        self.word = None;
        match self.scene {
            Scene::Table => return self.press_in_table(key),
            Scene::Filtering => self.press_in_filter(key),
            Scene::Inspecting(scrolled) => match key {
                Key::Up | Key::Letter('k') => self.scene = Scene::Inspecting(scrolled.saturating_sub(1)),
                Key::Down | Key::Letter('j') => self.scene = Scene::Inspecting(scrolled.saturating_add(1)),
                Key::PageUp => self.scene = Scene::Inspecting(scrolled.saturating_sub(self.page)),
                Key::PageDown => self.scene = Scene::Inspecting(scrolled.saturating_add(self.page)),
                Key::First => self.scene = Scene::Inspecting(0),
                Key::Letter('x') => self.ask(),
                Key::Escape | Key::Enter | Key::Backspace | Key::Letter('q') => self.show_table(),
                Key::Last | Key::Letter(_) => {}
            },
            Scene::Asking => return self.press_in_question(key),
            // Whoever has read it presses anything.
            Scene::Help => self.show_table(),
        }
        Step::Draw
    }

    fn press_in_table(&mut self, key: Key) -> Step {
        match key {
            Key::Up | Key::Letter('k') => self.select(self.position.saturating_sub(1)),
            Key::Down | Key::Letter('j') => self.select(self.position.saturating_add(1)),
            Key::PageUp => self.select(self.position.saturating_sub(self.page)),
            Key::PageDown => self.select(self.position.saturating_add(self.page)),
            Key::First | Key::Letter('g') => self.select(0),
            Key::Last | Key::Letter('G') => self.select(usize::MAX),
            Key::Letter('s') => {
                self.order = self.order.next();
                self.settle();
            }
            Key::Letter('/') => self.scene = Scene::Filtering,
            Key::Letter('?') => self.scene = Scene::Help,
            Key::Letter('x') => self.ask(),
            Key::Letter('q') => return Step::Quit,
            Key::Enter if self.selected.is_some() => self.scene = Scene::Inspecting(0),
            Key::Escape => self.filter_by(String::new()),
            Key::Enter | Key::Backspace | Key::Letter(_) => {}
        }
        Step::Draw
    }

    /// Asks whether the selected key is to be taken from its holder.
    fn ask(&mut self) {
        match self.selected().1.map(Taking::from) {
            Some(Ok(taking)) => {
                self.taking = Some(taking);
                self.scene = Scene::Asking;
            }
            Some(Err(reason)) => self.word = Some(reason),
            None => {}
        }
    }

    fn press_in_question(&mut self, key: Key) -> Step {
        match (key, &mut self.taking) {
            (Key::Up | Key::Letter('k'), Some(taking)) => taking.up(),
            (Key::Down | Key::Letter('j'), Some(taking)) => taking.down(),
            (Key::Letter('y' | 'Y'), Some(_)) => {
                self.decided = self.taking.take();
                self.show_table();
                return Step::TakeBack;
            }
            _ => {
                self.taking = None;
                self.show_table();
            }
        }
        Step::Draw
    }

    fn press_in_filter(&mut self, key: Key) {
        let mut filter = self.filter.clone();
        match key {
            Key::Enter => self.scene = Scene::Table,
            Key::Escape => {
                self.scene = Scene::Table;
                filter.clear();
            }
            Key::Backspace => drop(filter.pop()),
            Key::Letter(letter) => filter.push(letter),
            Key::Up | Key::Down | Key::PageUp | Key::PageDown | Key::First | Key::Last => {}
        }
        self.filter_by(filter);
    }

    fn filter_by(&mut self, filter: String) {
        self.filter = filter;
        self.settle();
    }

    fn show_table(&mut self) {
        self.scene = Scene::Table;
        self.settle();
    }

    /// Finds the selection again after the rows have changed.
    fn settle(&mut self) {
        let found = self.rows().iter().position(|status| Some(&status.key) == self.selected.as_ref());
        self.select(found.unwrap_or(self.position));
    }

    fn select(&mut self, position: usize) {
        let rows = self.rows();
        let position = position.min(rows.len().saturating_sub(1));
        let selected = rows.get(position).map(|status| status.key.clone());
        self.position = position;
        self.selected = selected;
    }
}

#[cfg(test)]
mod tests;
