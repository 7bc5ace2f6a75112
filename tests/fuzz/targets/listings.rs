//! Everything that is printed of a lock: nothing in it that a terminal obeys, and JSON that is JSON.

use std::sync::OnceLock;

use dlock::error::phrase::{HeldBy, is_hidden};
use dlock::lock::LockStatus;
use dlock::report::{self, json, overview, screen};
use dlock::settings::{self, Deployment, Environment};

use super::promises::is_one_line;

/// Far more than a thousand waiters with everything that is kept of them.
const MOST_BYTES: usize = 8 << 20;

/// Where the locks are said to be.
fn deployment() -> &'static Deployment {
    static DEPLOYMENT: OnceLock<Deployment> = OnceLock::new();
    DEPLOYMENT.get_or_init(|| {
        let typed = super::settings::typed_acquire();
        let environment = Environment::of(&[("DLOCK_REDIS", "redis://r1")]);
        settings::acquire(typed, &environment).expect("a valid URL").deployment
    })
}

/// What `status`, `list`, `top` and a refusal print of these locks.
pub(crate) fn can_be_shown(statuses: &[LockStatus]) {
    let line = json::statuses(statuses, deployment());
    let body = line.strip_suffix('\n').expect("it ends with a line break");
    assert!(!body.chars().any(is_hidden), "{body:?} has something that a terminal obeys");
    let read: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let keys = read.as_array().expect("a list of keys");
    assert_eq!(keys.len(), statuses.len());
    for (shown, status) in keys.iter().zip(statuses) {
        assert_eq!(shown["key"], status.key.as_str());
        assert_eq!(shown["holders"].as_array().map(Vec::len), Some(status.holders.len()));
    }
    let table = report::table(statuses);
    assert!(table.len() + body.len() < MOST_BYTES, "so much is no listing");
    let all: Vec<&LockStatus> = statuses.iter().collect();
    let mut lines: Vec<String> = table.lines().map(str::to_owned).collect();
    lines.extend(overview::rows(&all, 80));
    for status in statuses {
        lines.extend(overview::details(status));
        is_one_line(&HeldBy(&status.contention()).to_string());
    }
    for line in lines {
        assert!(!line.chars().any(is_hidden), "{line:?} has something that a terminal obeys");
        let cut = screen::cut(&line, 20);
        assert!(cut.chars().count() <= line.chars().count().max(1), "{cut:?}");
    }
}
