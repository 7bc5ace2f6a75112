//! Who a contender says it is. What is read back comes from other machines: it is bounded here, escaped when printed.

use serde::{Deserialize, Serialize};

/// The longest text kept for one field, in characters; more is cut, both on writing and on reading.
const MAX_FIELD_CHARS: usize = 120;

/// The description a contender leaves beside its token, for people. Never part of any decision.
///
/// As JSON this is the holder data of `docs/protocol.md`; unknown fields are ignored and missing ones are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Holder {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The command's file name, never its arguments: they may hold secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl Holder {
    /// The same holder with every field cut to what is stored at most.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        for field in [&mut self.host, &mut self.user, &mut self.command, &mut self.label] {
            if let Some(text) = field
                && let Some((end, _)) = text.char_indices().nth(MAX_FIELD_CHARS)
            {
                text.truncate(end);
            }
        }
        self
    }

    /// The holder data as stored: one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.clone().bounded()).expect("plain strings and numbers always serialise")
    }

    /// Reads what another contender stored; whatever is not holder data reads as nobody in particular.
    #[must_use]
    pub fn from_json(bytes: &[u8]) -> Self {
        serde_json::from_slice::<Self>(bytes).unwrap_or_default().bounded()
    }
}
