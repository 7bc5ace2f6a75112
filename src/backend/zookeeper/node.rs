//! What a contender's node says: the data as stored, and the stamps that the server puts on it.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use zookeeper_client::Stat;

use crate::lock::{FencingToken, Holder, LockKey, OwnerToken, Phase};

/// The version of the format that this dlock writes, and the only one it reads.
const VERSION: u64 = 1;

/// Digits of a SHA-256.
const DIGEST_LEN: usize = 64;

/// As many digits of the digest make the public id (`docs/protocol.md`).
const ID_LEN: usize = 8;

/// What one of Curator's clients writes over the data to ask for the lock back.
const CURATORS_REVOKE: &[u8] = b"__REVOKE__";

/// A contender's data, version 1. Fields that this dlock does not know are kept when the data are written again.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    fields: Map<String, Value>,
}

impl Record {
    /// The data of a contender that enters the queue.
    pub(super) fn entering(key: &LockKey, token: &OwnerToken, holder: &Holder, ttl: Duration) -> Self {
        let described = serde_json::to_value(holder.clone().bounded());
        let Ok(Value::Object(mut fields)) = described else { unreachable!("a holder is a JSON object") };
        fields.insert("dlock".into(), VERSION.into());
        fields.insert("owner".into(), digest(token).into());
        fields.insert("ttl_ms".into(), millis(ttl).into());
        if LockKey::decode(&key.encoded()).is_none() {
            fields.insert("key".into(), key.as_str().into());
        }
        Self { fields }
    }

    /// Reads what somebody stored; `None` when that was no dlock of this version.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let Ok(Value::Object(fields)) = serde_json::from_slice(data) else { return None };
        let record = Self { fields };
        let digest = record.text("owner")?;
        let valid = record.number("dlock") == Some(VERSION)
            && record.number("ttl_ms").is_some()
            && digest.len() == DIGEST_LEN
            && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        valid.then_some(record)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.fields).expect("a JSON object always serialises")
    }

    /// The same contender, now holding after a wait.
    pub(super) fn granted(&self) -> Self {
        self.with("granted", true)
    }

    /// The same contender as a lease that outlives its session: won by the node that `won` stamps, `now` from then on,
    /// `asked` in the end.
    pub(super) fn one_shot(&self, won: &Stat, now: Duration, asked: Duration) -> Self {
        let mut record = self.with("lease", "one-shot").with("asked_ms", millis(asked)).with("ttl_ms", millis(now));
        record.fields.insert("fence".into(), won.czxid.into());
        record.fields.insert("since_ms".into(), won.ctime.into());
        record
    }

    /// The same contender, of whom an operator wants the lock back; granted at `since_ms`, as its node tells no more once
    /// this is written.
    pub(super) fn revoked(&self, since_ms: Option<i64>) -> Self {
        let mut record = self.with("revoked", true);
        record.fields.extend(since_ms.map(|since| ("since_ms".to_owned(), since.into())));
        record
    }

    /// The same contender, whose node will outlast what it believes in.
    pub(super) fn delaying(self, delay: Duration) -> Self {
        if delay.is_zero() { self } else { self.with("lock_delay_ms", millis(delay)) }
    }

    /// The same contender, gone; others are kept out for `length` more.
    pub(super) fn tombstone(
        &self,
        lease: &str,
        length: Duration,
        fence: Option<FencingToken>,
        granted_ms: Option<i64>,
    ) -> Self {
        let mut record = self.with("lease", lease).with("ttl_ms", millis(length));
        record.fields.extend(fence.map(|fence| ("fence".to_owned(), fence.0.into())));
        record.fields.extend(granted_ms.map(|since| ("since_ms".to_owned(), since.into())));
        record.fields.remove("lock_delay_ms");
        record
    }

    pub(super) fn with_ttl(&self, ttl: Duration) -> Self {
        self.with("ttl_ms", millis(ttl))
    }

    /// The same lease in a node that the server removes when it was left alone for so long; `None`: never.
    pub(super) fn in_node_of(&self, node_ttl: Option<Duration>) -> Self {
        let mut record = self.clone();
        match node_ttl {
            Some(ttl) => record.fields.insert("node_ttl_ms".into(), millis(ttl).into()),
            None => record.fields.remove("node_ttl_ms"),
        };
        record
    }

    pub(super) fn node_ttl(&self) -> Option<Duration> {
        self.number("node_ttl_ms").map(Duration::from_millis)
    }

    pub(super) fn is_owned_by(&self, token: &OwnerToken) -> bool {
        self.text("owner") == Some(digest(token).as_str())
    }

    pub(super) fn id(&self) -> String {
        self.text("owner").and_then(|digest| digest.get(..ID_LEN)).unwrap_or_default().to_owned()
    }

    pub(super) fn holder(&self) -> Holder {
        Holder::from_json(&self.to_bytes())
    }

    pub(super) fn ttl(&self) -> Duration {
        Duration::from_millis(self.number("ttl_ms").unwrap_or_default())
    }

    /// How long others wait for a persistent node: the lease and its lock delay.
    pub(super) fn kept_for(&self) -> Duration {
        self.ttl() + Duration::from_millis(self.number("lock_delay_ms").unwrap_or_default())
    }

    /// The lease it was acquired with.
    pub(super) fn asked(&self) -> Duration {
        self.number("asked_ms").map_or(self.ttl(), Duration::from_millis)
    }

    pub(super) fn key(&self) -> Option<LockKey> {
        self.text("key").and_then(|key| LockKey::new(key).ok())
    }

    /// Whether the token of this lease can still renew and release it.
    pub(super) fn is_in_its_owners_hands(&self) -> bool {
        !matches!(self.text("lease"), Some("held-at-least" | "lock-delay"))
    }

    fn with(&self, field: &str, value: impl Into<Value>) -> Self {
        let mut record = self.clone();
        record.fields.insert(field.into(), value.into());
        record
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.as_str()
    }

    fn number(&self, field: &str) -> Option<u64> {
        self.fields.get(field)?.as_u64()
    }

    fn is_set(&self, field: &str) -> bool {
        self.fields.get(field) == Some(&Value::Bool(true))
    }
}

/// One child of a directory, read.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) data: Vec<u8>,
    /// Not there for whom its ACL lets not even see that much.
    pub(super) stat: Option<Stat>,
    pub(super) record: Option<Record>,
}

impl Node {
    pub(super) fn new(name: &str, data: Vec<u8>, stat: Stat) -> Self {
        Self { name: name.to_owned(), record: Record::parse(&data), data, stat: Some(stat) }
    }

    /// One of whom no more than the name may be known.
    pub(super) fn hidden(name: &str) -> Self {
        Self { name: name.to_owned(), data: Vec::new(), stat: None, record: None }
    }

    /// What a change of it has to name, so that nobody else's in between is lost.
    pub(super) fn version(&self) -> Option<i32> {
        self.stat.map(|stat| stat.version)
    }

    /// Whether it goes with its session. Servers show neither containers nor TTL nodes in `ephemeralOwner`, with the
    /// exception of some that leak their marks for them.
    pub(super) fn is_ephemeral(&self) -> bool {
        const CONTAINER: u64 = 0x8000_0000_0000_0000;
        const TTL_NODE: u64 = 0xff00_0000_0000_0000;
        let owner = self.stat.map_or(0, |stat| stat.ephemeral_owner.cast_unsigned());
        owner != 0 && owner != CONTAINER && owner & TTL_NODE != TTL_NODE
    }

    /// The record of a lease that ends by time alone.
    pub(super) fn timed(&self) -> Option<&Record> {
        self.record.as_ref().filter(|_| !self.is_ephemeral())
    }

    /// What is known of who it is. Curator stores an address, kazoo whatever its user chose.
    pub(super) fn holder(&self) -> Holder {
        match &self.record {
            Some(record) => record.holder(),
            None => {
                let text = String::from_utf8_lossy(&self.data);
                Holder { host: (!text.trim().is_empty()).then(|| text.into_owned()), ..Holder::default() }.bounded()
            }
        }
    }

    pub(super) fn id(&self) -> String {
        match &self.record {
            Some(record) => record.id(),
            None => crate::lock::token::public_id(self.name.as_bytes()),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        let Some(record) = &self.record else {
            return if self.data == CURATORS_REVOKE { Phase::Revoked } else { Phase::Foreign };
        };
        match (record.is_set("revoked"), self.is_ephemeral(), record.text("lease")) {
            (true, ..) => Phase::Revoked,
            (false, true, _) => Phase::Running,
            (false, false, Some("held-at-least")) => Phase::HeldAtLeast,
            (false, false, Some("lock-delay")) => Phase::LockDelay,
            (false, false, _) => Phase::OneShot,
        }
    }

    /// When it was granted, if it is, by the clock of the leader of that time: milliseconds since 1970.
    pub(super) fn granted_ms(&self) -> Option<i64> {
        let stat = self.stat?;
        let Some(record) = &self.record else { return Some(stat.ctime) };
        Some(match record.number("since_ms").and_then(|since| i64::try_from(since).ok()) {
            Some(since) => since,
            None if record.is_set("granted") => stat.mtime,
            None => stat.ctime,
        })
    }

    pub(super) fn fence(&self) -> Option<FencingToken> {
        let won = self.record.as_ref().and_then(|record| record.number("fence"));
        won.or_else(|| self.stat.map(|stat| stat.czxid.cast_unsigned())).map(FencingToken)
    }
}

/// What is stored of an owner token.
fn digest(token: &OwnerToken) -> String {
    hex::encode(Sha256::digest(token.secret()))
}

/// Whole milliseconds, rounded up: nobody is promised more than is kept.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// A server's stamp as a time of day.
pub(super) fn time_of_day(ms: i64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(u64::try_from(ms).ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stat(ephemeral_owner: u64) -> Stat {
        Stat {
            czxid: 7,
            mzxid: 8,
            pzxid: 7,
            ctime: 1_000,
            mtime: 2_000,
            version: 0,
            cversion: 0,
            aversion: 0,
            ephemeral_owner: ephemeral_owner.cast_signed(),
            data_length: 0,
            num_children: 0,
        }
    }

    fn entering(token: &OwnerToken) -> Record {
        let holder = Holder { host: Some("web-3".into()), pid: Some(812), ..Holder::default() };
        Record::entering(&LockKey::new("job").expect("valid"), token, &holder, Duration::from_secs(30))
    }

    #[test]
    fn what_is_stored_names_the_holder_and_proves_the_owner_without_the_token() {
        let token = OwnerToken::random();
        let bytes = entering(&token).to_bytes();
        let text = String::from_utf8(bytes.clone()).expect("JSON");
        assert!(!text.contains(token.secret()), "{text}");
        assert!(text.contains(r#""dlock":1"#) && text.contains(r#""ttl_ms":30000"#), "{text}");
        let read = Record::parse(&bytes).expect("our own");
        assert!(read.is_owned_by(&token) && !read.is_owned_by(&OwnerToken::random()));
        assert_eq!(read.id(), token.id());
        assert_eq!(read.holder().host.as_deref(), Some("web-3"));
    }

    #[test]
    fn a_key_whose_name_was_cut_is_stored_whole() {
        let key = LockKey::new("ä".repeat(200)).expect("valid");
        let record = Record::entering(&key, &OwnerToken::random(), &Holder::default(), Duration::from_secs(1));
        assert_eq!(Record::parse(&record.to_bytes()).and_then(|record| record.key()), Some(key));
        assert_eq!(entering(&OwnerToken::random()).key(), None);
    }

    #[test]
    fn a_later_versions_fields_survive_a_rewrite() {
        let token = OwnerToken::random();
        let text = String::from_utf8(entering(&token).to_bytes()).expect("JSON");
        let later = text.replacen('{', r#"{"colour":"blue","lock_delay_ms":500,"#, 1);
        let record = Record::parse(later.as_bytes()).expect("same version").with_ttl(Duration::from_secs(5));
        let rewritten = String::from_utf8(record.to_bytes()).expect("JSON");
        assert!(rewritten.contains(r#""colour":"blue""#), "{rewritten}");
        assert_eq!(record.kept_for(), Duration::from_millis(5_500));
    }

    #[test]
    fn everything_else_is_foreign() {
        let token = OwnerToken::random();
        let ours = String::from_utf8(entering(&token).to_bytes()).expect("JSON");
        let other_version = ours.replace(r#""dlock":1"#, r#""dlock":2"#);
        for data in ["", "127.0.0.1", "{}", "[1]", r#"{"dlock":1,"owner":"short","ttl_ms":1}"#, other_version.as_str()]
        {
            assert_eq!(Record::parse(data.as_bytes()), None, "{data}");
        }
        let curator = Node::new("_c_x-lock-0000000000", b"10.0.0.7".to_vec(), stat(0x1_0000));
        assert_eq!((curator.phase(), curator.holder().host.as_deref()), (Phase::Foreign, Some("10.0.0.7")));
    }

    #[test]
    fn the_later_forms_are_shown_for_what_they_are() {
        let session = 0x1000_0000_0001;
        let token = OwnerToken::random();
        let record = entering(&token);
        let phase = |record: &Record, owner| Node::new("n", record.to_bytes(), stat(owner)).phase();
        assert_eq!(phase(&record, session), Phase::Running);
        assert_eq!(phase(&record.revoked(Some(1_500)), session), Phase::Revoked);
        assert_eq!(Node::new("n", record.revoked(Some(1_500)).to_bytes(), stat(session)).granted_ms(), Some(1_500));
        let one_shot = record.one_shot(&stat(session), Duration::from_secs(10), Duration::from_secs(60));
        assert_eq!(phase(&one_shot, 0), Phase::OneShot);
        assert_eq!(phase(&one_shot.with("lease", "held-at-least"), 0), Phase::HeldAtLeast);
        assert_eq!(phase(&one_shot.with("lease", "lock-delay"), 0), Phase::LockDelay);
        let node = Node::new("n", one_shot.to_bytes(), stat(0));
        assert_eq!((node.fence(), node.granted_ms()), (Some(FencingToken(7)), Some(1_000)));
        assert_eq!(one_shot.asked(), Duration::from_secs(60));
    }

    #[test]
    fn the_grant_of_a_contender_that_waited_is_its_last_change() {
        let record = entering(&OwnerToken::random());
        assert_eq!(Node::new("n", record.to_bytes(), stat(1)).granted_ms(), Some(1_000));
        assert_eq!(Node::new("n", record.granted().to_bytes(), stat(1)).granted_ms(), Some(2_000));
    }

    #[test]
    fn a_mark_in_the_owner_field_is_no_session() {
        let ephemeral = |owner| Node::new("n", Vec::new(), stat(owner)).is_ephemeral();
        assert!(ephemeral(0x0100_1234_5678_0001));
        for persistent in [0, 0x8000_0000_0000_0000, 0xff00_0000_0000_2710] {
            assert!(!ephemeral(persistent), "{persistent:x}");
        }
    }

    proptest! {
        #[test]
        fn no_data_make_the_reader_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
            let node = Node::new("x-lock-0000000001", data, stat(0));
            prop_assert_eq!(node.phase(), if node.data == CURATORS_REVOKE { Phase::Revoked } else { Phase::Foreign });
            prop_assert!(node.holder().host.is_none_or(|host| host.chars().count() <= 120));
        }
    }
}
