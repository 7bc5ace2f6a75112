//! The lock contract: what every backend promises, in the same sentences.

mod crowds;
mod hold_at_least;
mod lock_delay;
mod modes;
mod nested;
mod one_shot;
mod reports;
mod run;
mod several;
mod taking_back;

use std::sync::OnceLock;

use crate::support::{Place, Server};

fn is_token(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The keys that `list` shows, in its order.
fn listed(place: &Place, pattern: &str) -> Vec<String> {
    let answer = place.dlock(["list", "--json", pattern]).finish().succeeds();
    let keys: Vec<serde_json::Value> = serde_json::from_str(answer.said()).expect("an array");
    keys.iter().map(|key| key["key"].as_str().expect("a key is text").to_owned()).collect()
}

/// Three Redis servers that know nothing of each other.
fn three_masters() -> Place {
    static MASTERS: OnceLock<[Server; 3]> = OnceLock::new();
    let masters = MASTERS.get_or_init(|| [(); 3].map(|()| Server::redis(&[])));
    let urls = masters.each_ref().map(|master| format!("redis://127.0.0.1:{}", master.port));
    Place::at_url(&urls.join(","), masters[0].port)
}
