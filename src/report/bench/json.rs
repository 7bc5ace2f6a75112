//! What `bench --json` prints. Fields are only ever added; times are in microseconds where their name says so.

use std::time::Duration;

use serde::Serialize;

use super::figures::{Choice, Contention, Figures, Leases, Measured, Summary};
use crate::report::json::{line, whole_ms};
use crate::settings::BenchSettings;

/// All of it as one object on one line.
#[must_use]
pub fn json(measured: &[Measured<'_>], settings: &BenchSettings) -> String {
    line(&Report {
        duration_ms: whole_ms(settings.duration),
        contenders: settings.contenders,
        mode: settings.mode.to_string(),
        backends: measured.iter().map(Backend::of).collect(),
    })
}

#[derive(Serialize)]
struct Report<'a> {
    duration_ms: u64,
    contenders: usize,
    /// `exclusive`, `shared` or `slots:N`.
    mode: String,
    backends: Vec<Backend<'a>>,
}

#[derive(Serialize)]
struct Backend<'a> {
    backend: String,
    endpoint: &'a str,
    namespace: &'a str,
    layout: &'static str,
    /// Why nothing was measured.
    error: Option<String>,
    acquire: Option<Times>,
    release: Option<Times>,
    renew: Option<Times>,
    hand_over: Option<Times>,
    contention: Option<Crowd>,
    lease: Option<Lease>,
}

impl<'a> Backend<'a> {
    fn of(measured: &'a Measured<'_>) -> Self {
        let figures = measured.outcome.as_ref().ok();
        let times = |of: fn(&Figures) -> Option<Summary>| figures.and_then(of).map(Times::of);
        Self {
            backend: measured.deployment.backend.to_string(),
            endpoint: &measured.deployment.endpoint,
            namespace: measured.deployment.namespace.as_str(),
            layout: measured.deployment.layout,
            error: measured.outcome.as_ref().err().map(ToString::to_string),
            acquire: times(|figures| figures.acquire),
            release: times(|figures| figures.release),
            renew: times(|figures| figures.renew),
            hand_over: times(|figures| figures.hand_over),
            contention: figures.map(|figures| Crowd::of(&figures.contention)),
            lease: figures.and_then(|figures| figures.leases.as_ref()).map(Lease::of),
        }
    }
}

#[derive(Serialize)]
struct Times {
    count: usize,
    median_us: f64,
    p95_us: f64,
    p99_us: f64,
    max_us: f64,
}

impl Times {
    fn of(Summary { count, median, p95, p99, max }: Summary) -> Self {
        Self { count, median_us: micros(median), p95_us: micros(p95), p99_us: micros(p99), max_us: micros(max) }
    }
}

#[derive(Serialize)]
struct Crowd {
    contenders: usize,
    lasted_ms: u64,
    grants: usize,
    grants_per_second: f64,
    fewest: usize,
    most: usize,
    wait: Option<Times>,
}

impl Crowd {
    fn of(contention: &Contention) -> Self {
        let Contention { contenders, lasted, turns, fewest, most, wait } = *contention;
        Self {
            contenders,
            lasted_ms: whole_ms(lasted),
            grants: turns,
            grants_per_second: tenths(super::per_second(turns, lasted)),
            fewest,
            most,
            wait: wait.map(Times::of),
        }
    }
}

#[derive(Serialize)]
struct Lease {
    /// The one in force, as the server granted it.
    ttl_ms: u64,
    /// The shortest that leaves a renewal `room` times the slowest seen.
    shortest_ttl_ms: Option<u64>,
    room: u32,
    slowest_renewal_us: f64,
    choices: Vec<Ttl>,
}

#[derive(Serialize)]
struct Ttl {
    ttl_ms: u64,
    renew_every_ms: u64,
    renewal_limit_ms: u64,
    times_the_slowest: f64,
    outage_ms: u64,
    granted: bool,
}

impl Lease {
    fn of(leases: &Leases) -> Self {
        Self {
            ttl_ms: whole_ms(leases.in_force),
            shortest_ttl_ms: leases.shortest.map(whole_ms),
            room: leases.room,
            slowest_renewal_us: micros(leases.slowest),
            choices: leases.choices.iter().map(Ttl::of).collect(),
        }
    }
}

impl Ttl {
    fn of(choice: &Choice) -> Self {
        Self {
            ttl_ms: whole_ms(choice.ttl),
            renew_every_ms: whole_ms(choice.renew_every),
            renewal_limit_ms: whole_ms(choice.request_limit),
            times_the_slowest: tenths(choice.times_the_slowest),
            outage_ms: whole_ms(choice.outage),
            granted: choice.is_granted,
        }
    }
}

fn micros(time: Duration) -> f64 {
    tenths(time.as_secs_f64() * 1e6)
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
