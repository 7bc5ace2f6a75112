//! What `bench` tells: tables for people, an object for scripts.

mod figures;
mod json;

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

pub use figures::{Choice, Contention, Figures, Leases, Measured, Summary};
pub use json::json;

use super::table::mode_name;
use crate::error::phrase::{Escaped, Exact, Quoted};
use crate::lock::LockKey;
use crate::settings::{BackendName, BenchSettings, Deployment};

const TIMES: [&str; 7] = ["WHAT", "BACKEND", "COUNT", "MEDIAN", "P95", "P99", "MAX"];
const CROWD: [&str; 6] = ["BACKEND", "CONTENDERS", "GRANTS", "PER SECOND", "FEWEST", "MOST"];
const LEASES: [&str; 7] = ["BACKEND", "TTL", "RENEWED EVERY", "LIMIT", "TIMES SLOWEST", "OUTAGE", ""];

/// What stands where nothing is known, so that columns can be counted by a script.
const UNKNOWN: &str = "-";

/// Where it was measured, the times, how a crowd fared, and which lease is sensible.
#[must_use]
pub fn table(measured: &[Measured<'_>], settings: &BenchSettings) -> String {
    let known: Vec<(BackendName, &Figures)> =
        measured.iter().filter_map(|one| Some((one.deployment.backend, one.outcome.as_ref().ok()?))).collect();
    let mut parts = vec![heading(measured, settings), times(&known), crowd(&known)];
    if known.iter().any(|(_, figures)| figures.leases.is_some()) {
        parts.extend([leases(&known), advice(&known)]);
    }
    parts.join("\n")
}

fn heading(measured: &[Measured<'_>], settings: &BenchSettings) -> String {
    let places: String = measured
        .iter()
        .filter(|one| one.outcome.is_ok())
        .map(|one| format!("{}: {}\n", one.deployment.backend, Escaped(&one.deployment.endpoint)))
        .collect();
    let BenchSettings { mode, contenders, duration, .. } = settings;
    let plural = if *contenders == 1 { "" } else { "s" };
    format!("{places}{}, {contenders} contender{plural}, {} in all\n", mode_name(*mode), Exact(*duration))
}

/// What a row is called, and where its times are.
type Kind = (&'static str, fn(&Figures) -> Option<Summary>);

fn times(known: &[(BackendName, &Figures)]) -> String {
    let kinds: [Kind; 5] = [
        ("acquire", |figures| figures.acquire),
        ("release", |figures| figures.release),
        ("renew", |figures| figures.renew),
        ("hand-over", |figures| figures.hand_over),
        ("wait", |figures| figures.contention.wait),
    ];
    let rows = kinds.into_iter().flat_map(|(name, of)| {
        known.iter().map(move |(backend, figures)| {
            let numbers = of(figures).map_or_else(
                || [UNKNOWN; 5].map(str::to_owned),
                |Summary { count, median, p95, p99, max }| {
                    let [median, p95, p99, max] = [median, p95, p99, max].map(precise);
                    [count.to_string(), median, p95, p99, max]
                },
            );
            [vec![name.to_owned(), backend.to_string()], numbers.to_vec()].concat()
        })
    });
    drawn(&TIMES, 2, rows)
}

fn crowd(known: &[(BackendName, &Figures)]) -> String {
    let rows = known.iter().map(|(backend, figures)| {
        let Contention { contenders, lasted, turns, fewest, most, .. } = figures.contention;
        let numbers = [contenders, turns].map(|number| number.to_string());
        let shares = [fewest, most].map(|number| number.to_string());
        let rate = format!("{:.1}", per_second(turns, lasted));
        [vec![backend.to_string()], numbers.to_vec(), vec![rate], shares.to_vec()].concat()
    });
    drawn(&CROWD, 1, rows)
}

fn leases(known: &[(BackendName, &Figures)]) -> String {
    let rows = known.iter().filter_map(|(backend, figures)| Some((backend, figures.leases.as_ref()?)));
    let rows = rows.flat_map(|(backend, leases)| {
        leases.choices.iter().map(move |choice| {
            let mut words = Vec::new();
            words.extend((leases.shortest == Some(choice.ttl)).then_some("shortest"));
            words.extend((leases.in_force == choice.ttl).then_some("in force"));
            words.extend((!choice.is_granted).then_some("not granted here"));
            vec![
                backend.to_string(),
                Exact(choice.ttl).to_string(),
                precise(choice.renew_every),
                precise(choice.request_limit),
                format!("{:.0}", choice.times_the_slowest),
                precise(choice.outage),
                words.join(", "),
            ]
        })
    });
    drawn(&LEASES, 1, rows)
}

/// A sentence for each backend.
fn advice(known: &[(BackendName, &Figures)]) -> String {
    let known = known.iter().filter_map(|(backend, figures)| Some((backend, figures.leases.as_ref()?)));
    known.map(|(backend, leases)| format!("{backend}: {}\n", sentence(leases))).collect()
}

fn sentence(leases: &Leases) -> String {
    let Leases { in_force, slowest, room, choices, shortest } = leases;
    let slowest = precise(*slowest);
    let times = choices.iter().find(|choice| choice.ttl == *in_force).map_or(0.0, |choice| choice.times_the_slowest);
    let in_force_now = Exact(*in_force);
    match shortest {
        Some(shortest) if shortest <= in_force => format!(
            "the slowest renewal took {slowest}; a TTL of {} or more leaves a renewal at least {room} times that, the \
             {in_force_now} in force {times:.0} times",
            Exact(*shortest),
        ),
        Some(shortest) => format!(
            "the slowest renewal took {slowest}; use --ttl {} or more, which leaves a renewal at least {room} times that; the \
             {in_force_now} in force are too short, they leave {times:.0} times",
            Exact(*shortest),
        ),
        None if !choices.iter().any(|choice| choice.is_granted && choice.ttl > *in_force) => format!(
            "the slowest renewal took {slowest}, and the {in_force_now} in force leave {times:.0} times that; the server grants no \
             longer TTL, and a shorter one than advised is lost in any longer pause: raise its limit (maxSessionTimeout)"
        ),
        None => format!(
            "the slowest renewal took {slowest}, and no TTL that is granted leaves a renewal {room} times that, the \
             {in_force_now} in force {times:.0} times: find out what is slow before jobs are stopped for it"
        ),
    }
}

/// What is said when something could not be removed.
#[must_use]
pub fn left_behind(key: &LockKey, deployment: &Deployment, reason: &str) -> String {
    let fate = match deployment.backend {
        BackendName::File => "its file stays, and is in nobody's way",
        BackendName::Redis | BackendName::Both => "what it keeps on Redis goes by itself within a day",
        BackendName::ZooKeeper => "its node goes by itself with the last session",
    };
    format!("cannot remove {} from {}: {reason}; {fate}", Quoted(key.as_str()), deployment.endpoint)
}

fn drawn(headings: &[&str], words: usize, rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(headings.iter().copied());
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        let is_number = index >= words && !headings[index].is_empty();
        let alignment = if is_number { CellAlignment::Right } else { CellAlignment::Left };
        column.set_padding((0, 2)).set_cell_alignment(alignment);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

fn per_second(turns: usize, lasted: Duration) -> f64 {
    f64::from(u32::try_from(turns).unwrap_or(u32::MAX)) / lasted.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// Three figures of it, in the unit that people would say: `412µs`, `5.13ms`, `1.2s`.
fn precise(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    let (number, unit) = match micros {
        below if below < 999.5 => (micros, "µs"),
        below if below < 999_500.0 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    match number {
        below if below < 9.995 => format!("{number:.2}{unit}"),
        below if below < 99.95 => format!("{number:.1}{unit}"),
        _ => format!("{number:.0}{unit}"),
    }
}

#[cfg(test)]
mod tests;
