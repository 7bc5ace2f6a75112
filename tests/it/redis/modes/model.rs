//! The scripts against a model of the queue that fits on a page, over random histories on a real server.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use dlock::backend::redis::script::{
    ACQUIRE, ACQUIRE_BESIDE_OTHERS, RELEASE, RELEASE_ALONE, RENEW, TAKE_OFFERED, WAIT,
};
use dlock::lock::{Mode, OwnerToken};
use proptest::prelude::*;
use redis::Value;

use super::super::server::Server;

/// What is left on the server once the lease of ARGV 1 has ended by time alone.
const LAPSE: &str = r"
local value, last = redis.call('GET', KEYS[1]), 0
if value and string.sub(value, 1, 32) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
elseif redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then
  return 0
end
redis.call('HSET', KEYS[2], ARGV[1], '1 running 1 1 {}')
for _, entry in ipairs(redis.call('HVALS', KEYS[2])) do
  last = math.max(last, tonumber(string.match(entry, '^(%d+) ') or '0'))
end
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', last))
return redis.call('PEXPIREAT', KEYS[2], string.format('%.0f', last))
";

/// Longer than any history: here nothing ends by time.
const TTL_MS: &str = "3600000";

/// An offer stands for 3 s, and a history takes some milliseconds. One that was held up for longer says nothing.
const WHILE_OFFERS_STAND: Duration = Duration::from_millis(2_900);

const CONTENDERS: usize = 7;

#[derive(Debug, Clone, Copy)]
enum Act {
    /// Without waiting.
    Try,
    /// Enqueues, keeps the place, confirms.
    Look,
    Renew,
    Release,
    /// The lease ends, or the offer lapses, and nobody is told.
    Lapse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Granted,
    Held,
    Awaited,
    OtherSlots(u32),
    Done(i64),
}

/// Who holds and who waits, as the protocol's words have it.
#[derive(Debug, Default)]
struct Model {
    /// Contender, mode, and whether it has confirmed.
    holders: Vec<(usize, Mode, bool)>,
    /// Tickets in their order; whoever was offered the lock keeps its own until it has confirmed.
    queue: Vec<(usize, Mode)>,
    /// Offers that each waiter has had since it last looked; after two it is dropped.
    offers: [u32; CONTENDERS],
}

impl Model {
    fn holds(&self, who: usize) -> Option<bool> {
        self.holders.iter().find(|(holder, ..)| *holder == who).map(|(_, _, confirmed)| *confirmed)
    }

    fn may_enter(&self, mode: Mode) -> bool {
        match (self.holders.first(), mode) {
            (None, _) => true,
            (Some((_, Mode::Shared, _)), Mode::Shared) => true,
            (Some((_, Mode::Slots(held), _)), Mode::Slots(total)) => {
                *held == total && self.holders.len() < total as usize
            }
            _ => false,
        }
    }

    fn other_slots(&self, mode: Mode, others: impl Iterator<Item = Mode>) -> Option<Said> {
        let Mode::Slots(total) = mode else { return None };
        others.into_iter().find_map(|mode| match mode {
            Mode::Slots(other) if other != total => Some(Said::OtherSlots(other)),
            _ => None,
        })
    }

    /// Offers to everybody in turn, up to the first who has to wait or to `me`, which may enter or not.
    fn advance(&mut self, me: Option<usize>) -> bool {
        for (who, mode) in self.queue.clone() {
            if Some(who) == me {
                return self.may_enter(mode);
            }
            if self.holds(who).is_some() {
                continue;
            }
            if self.offers[who] >= 2 {
                self.queue.retain(|(waiter, _)| *waiter != who);
                continue;
            }
            if !self.may_enter(mode) {
                return false;
            }
            self.offers[who] += 1;
            self.holders.push((who, mode, false));
        }
        false
    }

    fn enter(&mut self, who: usize, mode: Mode) -> Said {
        self.queue.retain(|(waiter, _)| *waiter != who);
        self.holders.retain(|(holder, ..)| *holder != who);
        self.holders.push((who, mode, true));
        Said::Granted
    }

    fn act(&mut self, act: Act, who: usize, mode: Mode) -> Said {
        let held = self.holders.iter().map(|(_, mode, _)| *mode).collect::<Vec<_>>();
        match act {
            Act::Renew => Said::Done(i64::from(self.holds(who) == Some(true))),
            Act::Release => {
                let held = self.holds(who).is_some();
                let waited = self.queue.iter().any(|(waiter, _)| *waiter == who);
                self.holders.retain(|(holder, ..)| *holder != who);
                self.queue.retain(|(waiter, _)| *waiter != who);
                self.offers[who] = 0;
                if held || waited {
                    self.advance(None);
                }
                Said::Done(i64::from(held))
            }
            Act::Lapse => {
                self.holders.retain(|(holder, ..)| *holder != who);
                Said::Done(0)
            }
            Act::Try if self.holds(who) == Some(true) => self.enter(who, mode),
            Act::Try => {
                if let Some(other) = self.other_slots(mode, held.into_iter()) {
                    return other;
                }
                match (self.may_enter(mode), self.queue.is_empty()) {
                    (true, true) => self.enter(who, mode),
                    (true, false) => Said::Awaited,
                    (false, false) if matches!(mode, Mode::Slots(_)) => Said::Awaited,
                    (false, _) => Said::Held,
                }
            }
            Act::Look if self.holds(who).is_some() => {
                self.offers[who] = 0;
                self.enter(who, mode)
            }
            Act::Look => {
                let waits = self.queue.iter().any(|(waiter, _)| *waiter == who);
                let awaited = self.queue.iter().filter(|(waiter, _)| !waits && self.offers[*waiter] < 2);
                let awaited: Vec<Mode> = awaited.map(|(_, mode)| *mode).collect();
                if let Some(other) = self.other_slots(mode, held.into_iter().chain(awaited)) {
                    return other;
                }
                if !waits {
                    self.queue.push((who, mode));
                }
                self.offers[who] = 0;
                if !self.advance(Some(who)) {
                    return Said::Held;
                }
                self.enter(who, mode);
                self.advance(None);
                Said::Granted
            }
        }
    }

    fn check(&self) {
        let modes: BTreeSet<String> = self.holders.iter().map(|(_, mode, _)| mode.to_string()).collect();
        assert!(modes.len() <= 1, "{self:?}");
        match self.holders.first() {
            Some((_, Mode::Exclusive, _)) => assert_eq!(self.holders.len(), 1, "{self:?}"),
            Some((_, Mode::Slots(total), _)) => assert!(self.holders.len() <= *total as usize, "{self:?}"),
            Some((_, Mode::Shared, _)) | None => {}
        }
    }
}

/// The same acts, carried out by the scripts.
struct Scripts<'a> {
    connection: &'a mut redis::Connection,
    tokens: Vec<OwnerToken>,
}

fn side(name: &str) -> String {
    format!("{{dlock:job}}:dlock:{name}")
}

fn awaited() -> Value {
    Value::Array(vec![Value::BulkString(b"awaited".to_vec())])
}

impl Scripts<'_> {
    fn run(&mut self, script: &str, keys: &[String], args: &[&str]) -> Value {
        let mut request = redis::cmd("EVAL");
        request.arg(script).arg(keys.len()).arg(keys).arg(args);
        request.query(self.connection).expect("no script fails")
    }

    fn act(&mut self, act: Act, who: usize, mode: Mode) -> Said {
        let token = self.tokens[who].secret().to_owned();
        let (exclusive, mode, prefix) = (mode == Mode::Exclusive, mode.to_string(), side("wake:"));
        let mut keys = vec!["dlock:job".to_owned()];
        keys.extend(["queue", "leases", "waiters", "receipts", "fence", "holders"].map(side));
        let mut contender = vec![token.as_str(), TTL_MS, TTL_MS, "running", "{}", &mode];
        match act {
            Act::Try if exclusive => told(&self.run(ACQUIRE, &keys, &contender)),
            Act::Try => told(&self.run(ACQUIRE_BESIDE_OTHERS, &keys, &contender)),
            Act::Look => {
                contender.extend([prefix.as_str(), "polls", "30000", ""]);
                // As whoever was told looks, and those who were not find nothing.
                match self.run(TAKE_OFFERED, &keys, &contender) {
                    nothing if nothing == awaited() => told(&self.run(WAIT, &keys, &contender)),
                    taken => told(&taken),
                }
            }
            Act::Renew => {
                let keys = ["dlock:job".to_owned(), side("holders"), side("receipts")];
                told(&self.run(RENEW, &keys, &[&token, TTL_MS]))
            }
            Act::Lapse => {
                self.run(LAPSE, &["dlock:job".to_owned(), side("holders")], &[&token]);
                Said::Done(0)
            }
            Act::Release => {
                let said = match self.run(RELEASE_ALONE, &keys, &[&token, &prefix]) {
                    Value::Int(2) => told(&self.run(RELEASE, &keys, &[&token, &prefix, "", "", ""])),
                    released => told(&released),
                };
                // A token is used once.
                self.tokens[who] = OwnerToken::random();
                said
            }
        }
    }

    /// The contenders that hold or were offered the lock, and whether a foreign client would be kept out.
    fn holders(&mut self) -> (BTreeSet<usize>, bool) {
        let value: Option<String> = redis::cmd("GET").arg("dlock:job").query(self.connection).expect("a string");
        let sharers: Vec<(String, String)> =
            redis::cmd("HGETALL").arg(side("holders")).query(self.connection).expect("a hash");
        let living = sharers.iter().filter(|(_, entry)| !entry.starts_with("1 ")).map(|(token, _)| token.as_str());
        let owner = value.as_ref().and_then(|value| value.split(' ').next());
        let of = |token: &str| self.tokens.iter().position(|known| known.secret() == token);
        (owner.into_iter().chain(living).filter_map(of).collect(), value.is_some())
    }
}

fn told(reply: &Value) -> Said {
    let parts = match reply {
        Value::Int(number) => return Said::Done(*number),
        Value::Array(parts) => parts,
        _ => panic!("{reply:?}"),
    };
    match (&parts[0], parts.get(1)) {
        (Value::Int(number), _) => Said::Done(*number),
        (Value::BulkString(word), Some(Value::Int(total))) if word == b"mismatch" => {
            Said::OtherSlots(u32::try_from(*total).expect("a number of slots"))
        }
        (Value::BulkString(word), _) if word == b"granted" => Said::Granted,
        (Value::BulkString(word), _) if word == b"held" => Said::Held,
        (Value::BulkString(word), _) if word == b"awaited" => Said::Awaited,
        _ => panic!("{reply:?}"),
    }
}

/// What each contender of a history wants, always the same.
fn modes() -> impl Strategy<Value = Vec<Mode>> {
    let mode = prop_oneof![
        3 => Just(Mode::Shared),
        2 => Just(Mode::Exclusive),
        3 => Just(Mode::Slots(2)),
        1 => Just(Mode::Slots(3)),
    ];
    proptest::collection::vec(mode, CONTENDERS)
}

fn acts() -> impl Strategy<Value = Vec<(Act, usize)>> {
    let act = prop_oneof![
        2 => Just(Act::Try),
        5 => Just(Act::Look),
        1 => Just(Act::Renew),
        4 => Just(Act::Release),
        2 => Just(Act::Lapse),
    ];
    proptest::collection::vec((act, 0..CONTENDERS), 1..60)
}

#[test]
fn every_history_of_the_scripts_is_one_of_the_model() {
    let server = Server::start(&[]);
    let connection = RefCell::new(server.connection());
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(modes in modes(), acts in acts())| {
        let connection = &mut *connection.borrow_mut();
        redis::cmd("FLUSHALL").exec(connection).expect("our own server forgets");
        let tokens = (0..CONTENDERS).map(|_| OwnerToken::random()).collect();
        let (mut model, mut scripts) = (Model::default(), Scripts { connection, tokens });
        let began = Instant::now();
        for (step, (act, who)) in acts.into_iter().enumerate() {
            let expected = model.act(act, who, modes[who]);
            let said = scripts.act(act, who, modes[who]);
            model.check();
            prop_assume!(began.elapsed() < WHILE_OFFERS_STAND);
            prop_assert_eq!(said, expected, "step {}: {:?} of {} ({}), then {:?}", step, act, who, modes[who], model);
            let held: BTreeSet<usize> = model.holders.iter().map(|(who, ..)| *who).collect();
            let excludes = !held.is_empty();
            prop_assert_eq!(scripts.holders(), (held, excludes), "step {}: {:?} of {}, then {:?}", step, act, who, model);
        }
    });
}
