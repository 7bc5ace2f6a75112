//! Taking a lock back. What breaks it: that what was shown has another holder by the time the script runs, so it names
//! the owner by its whole token.

use std::time::Duration;

use redis::{Cmd, Value};

use super::names::Names;
use super::reply::{Raw, RawValue};
use super::script::lean;
use super::topology::Route;
use super::value::LockValue;
use super::{eval, reading, unexpected};
use crate::lock::token::public_id;
use crate::lock::{BackendError, HolderEntry, Manner, Mode, Revocation};

const REVOKE: &str = lean!(concat!(
    include_str!("scripts/head.lua"),
    include_str!("scripts/base.lua"),
    include_str!("scripts/holders.lua"),
    include_str!("scripts/sharing.lua"),
    include_str!("scripts/waiters.lua"),
    include_str!("scripts/queue.lua"),
    include_str!("scripts/revoke.lua")
));

/// Takes the lock of `names` from `shown`, on the server that decides about it.
pub(super) async fn revoke(
    route: &dyn Route,
    names: &Names,
    shown: &HolderEntry,
    manner: Manner,
    limit: Duration,
) -> Result<Revocation, BackendError> {
    let raw = reading::raw(route, names, limit).await?;
    let Some(target) = Target::find(&raw, shown) else { return Ok(Revocation::Changed) };
    let request = |again| target.request(names, manner, again);
    let answer = route.ask_twice(names.lock(), &request(""), &|| request("again"), limit).await;
    revocation(&answer.map_err(|failure| failure.error)?).ok_or_else(|| unexpected(route))
}

/// What the scripts that take a lock back say.
pub(super) fn revocation(reply: &Value) -> Option<Revocation> {
    Some(match reply {
        Value::Int(0) => Revocation::Changed,
        Value::Int(1) => Revocation::Freed,
        Value::Int(2) => Revocation::Asked,
        _ => return None,
    })
}

/// Whom the script takes it from.
#[derive(Debug, PartialEq, Eq)]
struct Target<'a> {
    is: &'static str,
    text: &'a [u8],
}

impl<'a> Target<'a> {
    /// Whom `shown` shows, among what is stored now.
    fn find(raw: &'a Raw, shown: &HolderEntry) -> Option<Self> {
        if let Some([token, _]) = raw.sharers.iter().find(|[token, _]| public_id(token) == shown.id) {
            return Some(Self { is: "sharer", text: token });
        }
        let found = match &raw.value {
            RawValue::Absent => return None,
            RawValue::Other(kind) => Self { is: "type", text: kind },
            RawValue::Text(text) => match LockValue::parse(text) {
                LockValue::Ours(record) if record.mode == Mode::Exclusive => {
                    if matches!((record.fence, shown.fence), (Some(one), Some(other)) if one != other) {
                        return None;
                    }
                    Self { is: "owner", text: &text[..record.token.len()] }
                }
                // A marker that has lost its holders, known by its generation.
                LockValue::Ours(record) if public_id(record.token.as_bytes()) == shown.id => {
                    return Some(Self { is: "text", text });
                }
                LockValue::Ours(_) => return None,
                LockValue::Foreign => Self { is: "text", text },
            },
        };
        (public_id(found.text) == shown.id).then_some(found)
    }

    fn request(&self, names: &Names, manner: Manner, again: &str) -> Cmd {
        let mut request = eval(REVOKE, &names.all(), &[]);
        request.arg(self.text).arg(names.wake_prefix()).arg(self.is);
        request.arg(if manner == Manner::AtOnce { "now" } else { "" }).arg(again);
        request
    }
}
