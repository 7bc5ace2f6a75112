//! What the window of `top` looks like: lines and their styles, cut to its size.

use crossterm::style::{Attribute, Color, SetAttribute, SetForegroundColor};

use crate::error::phrase::{Escaped, Quoted};
use crate::lock::LockKey;
use crate::report::{overview, screen};
use crate::settings::Deployment;
use crate::sys::window::Size;

use super::state::{Scene, State};
use super::taking::Taking;

/// Whether anything but plain text may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Styles,
    /// `NO_COLOR`, `--color never`.
    Plain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Strong,
    Selected,
    Dim,
    Alarm,
}

type Line = (String, Style);

/// In the column before the keys, so that the selection is seen without styles.
const SELECTED: &str = "> ";
const NOT_SELECTED: &str = "  ";

/// Title, headings and the line at the bottom.
const FRAME_ROWS: usize = 3;

const KEYS: &str = "q quit  ? help  s sort  / filter  Enter inspect  x take back";
const KEYS_INSPECTING: &str = "Esc back  j k scroll  x take back";
const KEYS_ASKING: &str = "y yes  any other key: no";

const HELP: [&str; 15] = [
    "arrows, j, k       move",
    "PgUp, PgDn         move by a page",
    "Home, End, g, G    first, last",
    "s                  sort by key, since, waiters, lease",
    "/                  show only keys with this text,",
    "                   or that match this glob",
    "Esc                take the filter away",
    "Enter              all of one key",
    "x                  take it from its holder,",
    "                   once you have said yes",
    "q, Ctrl-C          quit",
    "Ctrl-Z             to the shell; fg comes back",
    "",
    "dlock looks once a second",
    "any key goes back",
];

/// The text that draws all of it.
pub(super) fn picture(state: &mut State, deployment: &Deployment, size: Size, paint: Paint) -> String {
    let mut lines = vec![title(state, deployment)];
    let room = size.rows.saturating_sub(FRAME_ROWS);
    match state.scene {
        Scene::Table | Scene::Filtering => table(state, deployment, size, &mut lines),
        Scene::Inspecting(scrolled) => inspection(state, scrolled, room + 1, &mut lines),
        Scene::Asking => {
            let question = state.taking.iter().flat_map(Taking::lines);
            lines.extend(question.map(|line| (line, Style::Plain)));
        }
        Scene::Help => lines.extend(HELP.map(|line| (line.to_owned(), Style::Plain))),
    }
    lines.truncate(size.rows.saturating_sub(1));
    lines.resize(size.rows.saturating_sub(1), (String::new(), Style::Plain));
    lines.push(bottom(state));
    let drawn: Vec<String> = lines.iter().map(|line| styled(line, size.columns, paint)).collect();
    screen::whole(&drawn)
}

fn title(state: &State, deployment: &Deployment) -> Line {
    if let Some(reason) = &state.lost {
        return (format!("no answer, this was the last: {}", Escaped(reason)), Style::Alarm);
    }
    let (all, shown) = (state.count(), state.rows().len());
    let noun = if all == 1 { "key" } else { "keys" };
    let count = if shown == all { format!("{all} {noun}") } else { format!("{shown} of {all} {noun}") };
    let filter = if state.filter.is_empty() { String::new() } else { format!("  filter {}", Quoted(&state.filter)) };
    let namespace = Quoted(deployment.namespace.as_str());
    let order = state.order.name();
    let backend = deployment.backend;
    (format!("{count}  sort {order}{filter}  {backend} namespace {namespace}"), Style::Strong)
}

fn table(state: &mut State, deployment: &Deployment, size: Size, lines: &mut Vec<Line>) {
    let visible = state.visible(size.rows.saturating_sub(FRAME_ROWS));
    let selected = state.position();
    let is_old = state.lost.is_some();
    let rows = state.rows();
    let shown = rows.get(visible.clone()).unwrap_or_default();
    let columns = size.columns.saturating_sub(SELECTED.len());
    for (index, row) in overview::rows(shown, columns).into_iter().enumerate() {
        // The first line is the headings'.
        let is_selected = index > 0 && visible.start + index - 1 == selected;
        let style = match index {
            0 => Style::Strong,
            _ if is_selected => Style::Selected,
            _ if is_old => Style::Dim,
            _ => Style::Plain,
        };
        let mark = if is_selected { SELECTED } else { NOT_SELECTED };
        lines.push((format!("{mark}{row}"), style));
    }
    if rows.is_empty() {
        let nothing = if state.count() == 0 {
            format!("nothing is held or awaited in namespace {}", Quoted(deployment.namespace.as_str()))
        } else {
            "no key has this in it; Esc takes the filter away".to_owned()
        };
        lines.push((format!("{NOT_SELECTED}{nothing}"), Style::Plain));
    }
}

fn inspection(state: &mut State, scrolled: usize, room: usize, lines: &mut Vec<Line>) {
    let (key, status) = state.selected();
    let facts = match (key, status) {
        (_, Some(status)) => overview::details(status),
        (key, None) => vec![format!("nobody holds or awaits {} any more", Quoted(key.map_or("", LockKey::as_str)))],
    };
    // Not beyond the last page; and the next key begins from what is seen.
    let scrolled = scrolled.min(facts.len().saturating_sub(room));
    let style = if state.lost.is_some() { Style::Dim } else { Style::Plain };
    lines.extend(facts.into_iter().skip(scrolled).map(|fact| (fact, style)));
    state.scene = Scene::Inspecting(scrolled);
}

fn bottom(state: &State) -> Line {
    if let Some(word) = &state.word {
        return (Escaped(word).to_string(), Style::Strong);
    }
    match state.scene {
        Scene::Asking => (KEYS_ASKING.to_owned(), Style::Strong),
        Scene::Filtering => (format!("filter: {}_", Escaped(&state.filter)), Style::Strong),
        Scene::Table | Scene::Help => (KEYS.to_owned(), Style::Dim),
        Scene::Inspecting(_) => (KEYS_INSPECTING.to_owned(), Style::Dim),
    }
}

fn styled((text, style): &Line, columns: usize, paint: Paint) -> String {
    let text = screen::cut(text, columns);
    let start = match (paint, style) {
        (Paint::Plain, _) | (_, Style::Plain) => return text,
        (_, Style::Strong) => SetAttribute(Attribute::Bold).to_string(),
        (_, Style::Selected) => SetAttribute(Attribute::Reverse).to_string(),
        (_, Style::Dim) => SetAttribute(Attribute::Dim).to_string(),
        (_, Style::Alarm) => format!("{}{}", SetAttribute(Attribute::Bold), SetForegroundColor(Color::Red)),
    };
    format!("{start}{text}{}", SetAttribute(Attribute::Reset))
}
