//! A Redis server of a page: its keys, its clock, and the shipped scripts carried out by a real Lua 5.1.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use mlua::{Function, Lua, Table, Value, Variadic};

/// All that the server keeps. States by the hundred thousand share what is the same in them.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Keyspace {
    /// Of the keys, so that nobody has to read them again to tell two servers apart.
    mark: u64,
    keys: Arc<Keys>,
}

type Keys = BTreeMap<String, Entry>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Entry {
    data: Data,
    /// The last millisecond in which it is there.
    expires: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Data {
    Text(String),
    Fields(BTreeMap<String, String>),
    /// The scripts' scores are whole numbers.
    Scores(BTreeMap<String, u64>),
}

/// What a script returns, as the protocol has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reply {
    Nil,
    Int(i64),
    Text(String),
    List(Vec<Reply>),
    Error(String),
}

/// One run of a script: the server's clock in ms, who listens to which channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Run {
    pub(crate) now: u64,
    /// Added to the clock's microseconds, so that several servers need not agree.
    pub(crate) ahead_us: u64,
    pub(crate) channels: Vec<String>,
}

/// What a script's run comes to.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) reply: Reply,
    /// The channels on which it published.
    pub(crate) published: Vec<String>,
    server: Keyspace,
}

/// A server while it carries a script out.
#[derive(Debug, Default)]
struct Server {
    run: Run,
    keys: Keys,
    published: Vec<String>,
}

/// A script by where it stands in memory: to compare the text takes longer than to run it. Every exploration has threads,
/// and with them tables, of its own.
type Place = (usize, usize);

/// The mark of the keys, the script, which keys it is about, its arguments, and the rest that it can see.
type Question = (u64, Place, Vec<&'static str>, Vec<String>, Run);

thread_local! {
    static LUA: Lua = interpreter().expect("an interpreter starts");
    static COMPILED: RefCell<HashMap<Place, Function>> = RefCell::default();
    static SERVER: RefCell<Server> = RefCell::default();
    /// A script is a function of the keys, its arguments and the clock: most runs have been seen before.
    static KNOWN: RefCell<HashMap<Question, Outcome>> = RefCell::default();
}

impl std::hash::Hash for Keyspace {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.mark.hash(state);
    }
}

impl std::fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.keys.fmt(f)
    }
}

impl Keyspace {
    fn of(keys: Keys) -> Self {
        if keys.is_empty() {
            return Self::default();
        }
        let mut hasher = DefaultHasher::new();
        keys.hash(&mut hasher);
        Self { mark: hasher.finish(), keys: Arc::new(keys) }
    }

    /// Carries `script` out at once, as the server does.
    pub(crate) fn eval(&mut self, script: &str, keys: &[&'static str], args: Vec<String>, run: Run) -> Outcome {
        let question = (self.mark, place(script), keys.to_vec(), args, run);
        let known = KNOWN.with_borrow(|known| known.get(&question).cloned());
        let outcome = known.unwrap_or_else(|| {
            let outcome = self.carry_out(script, keys, &question.3, question.4.clone());
            KNOWN.with_borrow_mut(|known| known.insert(question, outcome.clone()));
            outcome
        });
        *self = outcome.server.clone();
        outcome
    }

    fn carry_out(&self, script: &str, keys: &[&str], args: &[String], run: Run) -> Outcome {
        let now = run.now;
        SERVER.set(Server { run, keys: Keys::clone(&self.keys), published: Vec::new() });
        let reply = LUA.with(|lua| {
            let function = compiled(lua, script);
            lua.globals().set("KEYS", keys.to_vec())?;
            lua.globals().set("ARGV", args.to_vec())?;
            function.call::<Value>(()).map(|value| reply_of(&value))
        });
        let Server { mut keys, published, .. } = SERVER.take();
        expire(&mut keys, now);
        let reply = reply.unwrap_or_else(|error| panic!("a script failed: {error}\n{args:?}"));
        Outcome { reply, published, server: Self::of(keys) }
    }

    pub(crate) fn expire(&mut self, now: u64) {
        if self.keys.values().any(|entry| entry.is_over(now)) {
            let mut keys = Keys::clone(&self.keys);
            expire(&mut keys, now);
            *self = Self::of(keys);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match &self.keys.get(key)?.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The fields of a hash, or the members of a sorted set, and what is stored of them.
    pub(crate) fn members(&self, key: &str) -> Vec<(String, String)> {
        match self.keys.get(key).map(|entry| &entry.data) {
            Some(Data::Fields(fields)) => fields.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            Some(Data::Scores(scores)) => {
                scores.iter().map(|(name, score)| (name.clone(), score.to_string())).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Entry {
    fn is_over(&self, now: u64) -> bool {
        self.expires.is_some_and(|last| now > last)
    }
}

fn expire(keys: &mut Keys, now: u64) {
    keys.retain(|_, entry| !entry.is_over(now));
}

fn place(script: &str) -> Place {
    (script.as_ptr().addr(), script.len())
}

fn compiled(lua: &Lua, script: &str) -> Function {
    COMPILED.with_borrow_mut(|compiled| {
        let place = place(script);
        let known = compiled.get(&place).cloned();
        known.unwrap_or_else(|| {
            let function = lua.load(script).into_function().expect("the scripts are valid Lua 5.1");
            compiled.insert(place, function.clone());
            function
        })
    })
}

fn interpreter() -> mlua::Result<Lua> {
    let lua = Lua::new();
    let redis = lua.create_table()?;
    redis.set(
        "call",
        lua.create_function(|lua, words: Variadic<Value>| answer(lua, &words)?.map_err(mlua::Error::runtime))?,
    )?;
    redis.set(
        "pcall",
        lua.create_function(|lua, words: Variadic<Value>| match answer(lua, &words)? {
            Ok(value) => Ok(value),
            Err(error) => {
                let table = lua.create_table()?;
                table.set("err", error)?;
                Ok(Value::Table(table))
            }
        })?,
    )?;
    redis.set("sha1hex", lua.create_function(|_, text: String| Ok(digest(&text)))?)?;
    lua.globals().set("redis", redis)?;
    Ok(lua)
}

/// As Redis converts what a script returns.
fn reply_of(value: &Value) -> Reply {
    match value {
        Value::Integer(number) => Reply::Int(*number),
        #[expect(clippy::cast_possible_truncation, reason = "the server truncates, too")]
        Value::Number(number) => Reply::Int(*number as i64),
        Value::String(text) => Reply::Text(text.to_string_lossy()),
        Value::Boolean(true) => Reply::Int(1),
        Value::Table(table) => list_of(table),
        _ => Reply::Nil,
    }
}

fn list_of(table: &Table) -> Reply {
    if let Ok(error) = table.get::<String>("err") {
        return Reply::Error(error);
    }
    Reply::List(table.sequence_values::<Value>().map_while(Result::ok).map(|value| reply_of(&value)).collect())
}

/// Forty digits that tell texts apart as those of SHA-1 do; it takes ten times as long without optimisation.
fn digest(text: &str) -> String {
    let fnv = |seed: u64| text.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{:016x}{:016x}{:08x}", fnv(0xcbf2_9ce4_8422_2325), fnv(0x9e37_79b9_7f4a_7c15), text.len())
}

fn answer(lua: &Lua, words: &[Value]) -> mlua::Result<Result<Value, String>> {
    let words: Vec<String> = words.iter().map(word).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let reply = SERVER.with_borrow_mut(|server| server.command(&words));
    Ok(match reply {
        Ok(reply) => Ok(lua_of(lua, reply)?),
        Err(error) => Err(error),
    })
}

fn word(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Number(number) => format!("{number}"),
        Value::String(text) => text.to_string_lossy(),
        other => panic!("no argument of a command: {other:?}"),
    }
}

fn lua_of(lua: &Lua, reply: Reply) -> mlua::Result<Value> {
    Ok(match reply {
        Reply::Nil => Value::Boolean(false),
        #[expect(clippy::cast_precision_loss, reason = "Lua 5.1 has nothing else")]
        Reply::Int(number) => Value::Number(number as f64),
        Reply::Text(text) => Value::String(lua.create_string(text)?),
        Reply::List(items) => {
            let table = lua.create_table()?;
            for (at, item) in items.into_iter().enumerate() {
                table.set(at + 1, lua_of(lua, item)?)?;
            }
            Value::Table(table)
        }
        Reply::Error(error) => panic!("commands fail by Err: {error}"),
    })
}

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

fn number(word: &str) -> i64 {
    word.parse().unwrap_or_else(|_| panic!("{word:?} is no whole number"))
}

fn unsigned(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("{word:?} is no time"))
}

/// Redis' inclusive range of indices, of which negative ones count from the end.
fn slice(len: usize, from: &str, to: &str) -> std::ops::Range<usize> {
    let len = i64::try_from(len).expect("short");
    let index = |word: &str| if number(word) < 0 { len + number(word) } else { number(word) };
    let (from, to) = (index(from).max(0), (index(to) + 1).min(len));
    let place = |at: i64| usize::try_from(at).expect("not negative");
    if from < to { place(from)..place(to) } else { 0..0 }
}

fn text_or_nil(text: Option<&String>) -> Reply {
    text.map_or(Reply::Nil, |text| Reply::Text(text.clone()))
}

fn count(number: usize) -> Reply {
    Reply::Int(i64::try_from(number).expect("few"))
}

impl Server {
    fn command(&mut self, words: &[&str]) -> Result<Reply, String> {
        expire(&mut self.keys, self.run.now);
        let (command, rest) = words.split_first().expect("a command");
        match (*command, rest) {
            ("TIME", []) => {
                let us = self.run.now * 1000 + self.run.ahead_us;
                Ok(Reply::List(vec![
                    Reply::Text((us / 1_000_000).to_string()),
                    Reply::Text((us % 1_000_000).to_string()),
                ]))
            }
            ("GET", [key]) => match self.keys.get(*key).map(|entry| &entry.data) {
                None => Ok(Reply::Nil),
                Some(Data::Text(text)) => Ok(Reply::Text(text.clone())),
                Some(_) => Err(WRONG_TYPE.into()),
            },
            ("SET", [key, value, how @ ..]) => {
                let expires = match how {
                    [] => None,
                    ["PX", ms] => Some(self.run.now + unsigned(ms)),
                    ["PXAT", ms] => Some(unsigned(ms)),
                    ["KEEPTTL"] => self.keys.get(*key).and_then(|entry| entry.expires),
                    other => panic!("SET {other:?}"),
                };
                let data = Data::Text((*value).to_owned());
                self.keys.insert((*key).to_owned(), Entry { data, expires });
                Ok(Reply::Text("OK".into()))
            }
            ("DEL", keys) => Ok(count(keys.iter().filter(|key| self.keys.remove(**key).is_some()).count())),
            ("PTTL", [key]) => Ok(Reply::Int(match self.keys.get(*key).map(|entry| entry.expires) {
                None => -2,
                Some(None) => -1,
                Some(Some(last)) => i64::try_from(last - self.run.now).expect("near"),
            })),
            ("PEXPIRE", [key, ms]) => Ok(self.expire_at(key, self.run.now + unsigned(ms))),
            ("PEXPIREAT", [key, ms]) => Ok(self.expire_at(key, unsigned(ms))),
            ("PUBLISH" | "SPUBLISH", [channel, _]) => {
                self.published.push((*channel).to_owned());
                Ok(Reply::Int(i64::from(self.listens(channel))))
            }
            ("PUBSUB", ["NUMSUB" | "SHARDNUMSUB", channel]) => {
                Ok(Reply::List(vec![Reply::Text((*channel).to_owned()), Reply::Int(i64::from(self.listens(channel)))]))
            }
            (command, [key, rest @ ..]) if command.starts_with('Z') => self.on_scores(command, key, rest),
            (command, [key, rest @ ..]) if command.starts_with('H') => self.on_fields(command, key, rest),
            other => panic!("the scripts use another command: {other:?}"),
        }
    }

    fn listens(&self, channel: &str) -> bool {
        self.run.channels.iter().any(|known| known == channel)
    }

    fn expire_at(&mut self, key: &str, last: u64) -> Reply {
        let Some(entry) = self.keys.get_mut(key) else { return Reply::Int(0) };
        entry.expires = Some(last);
        expire(&mut self.keys, self.run.now);
        Reply::Int(1)
    }

    fn on_fields(&mut self, command: &str, key: &str, words: &[&str]) -> Result<Reply, String> {
        let fresh = || Entry { data: Data::Fields(BTreeMap::new()), expires: None };
        let entry = self.keys.entry(key.to_owned()).or_insert_with(fresh);
        let Data::Fields(fields) = &mut entry.data else { return Err(WRONG_TYPE.into()) };
        let reply = match (command, words) {
            ("HLEN", []) => count(fields.len()),
            ("HGET", [field]) => text_or_nil(fields.get(*field)),
            ("HMGET", names) => Reply::List(names.iter().map(|name| text_or_nil(fields.get(*name))).collect()),
            ("HSET", [field, value]) => {
                Reply::Int(i64::from(fields.insert((*field).to_owned(), (*value).to_owned()).is_none()))
            }
            ("HDEL", [field]) => Reply::Int(i64::from(fields.remove(*field).is_some())),
            ("HGETALL", []) => Reply::List(
                fields.iter().flat_map(|(name, value)| [name, value].map(|text| Reply::Text(text.clone()))).collect(),
            ),
            other => panic!("the scripts use another command: {other:?}"),
        };
        if fields.is_empty() {
            self.keys.remove(key);
        }
        Ok(reply)
    }

    fn on_scores(&mut self, command: &str, key: &str, words: &[&str]) -> Result<Reply, String> {
        let fresh = || Entry { data: Data::Scores(BTreeMap::new()), expires: None };
        let entry = self.keys.entry(key.to_owned()).or_insert_with(fresh);
        let Data::Scores(scores) = &mut entry.data else { return Err(WRONG_TYPE.into()) };
        let mut ranked: Vec<(u64, String)> = scores.iter().map(|(name, score)| (*score, name.clone())).collect();
        ranked.sort();
        let reply = match (command, words) {
            ("ZCARD", []) => count(scores.len()),
            ("ZSCORE", [member]) => scores.get(*member).map_or(Reply::Nil, |score| Reply::Text(score.to_string())),
            ("ZADD", [score, member]) => {
                Reply::Int(i64::from(scores.insert((*member).to_owned(), unsigned(score)).is_none()))
            }
            ("ZREM", [member]) => Reply::Int(i64::from(scores.remove(*member).is_some())),
            ("ZRANK", [member]) => ranked.iter().position(|(_, name)| name == member).map_or(Reply::Nil, count),
            ("ZRANGE", [from, to]) => {
                let range = ranked[slice(ranked.len(), from, to)].iter();
                Reply::List(range.map(|(_, name)| Reply::Text(name.clone())).collect())
            }
            ("ZRANGE", [from, to, "WITHSCORES"]) => {
                let range = ranked[slice(ranked.len(), from, to)].iter();
                Reply::List(
                    range.flat_map(|(score, name)| [name.clone(), score.to_string()]).map(Reply::Text).collect(),
                )
            }
            ("ZREMRANGEBYSCORE", ["-inf", most]) => {
                let before = scores.len();
                scores.retain(|_, score| *score > unsigned(most));
                count(before - scores.len())
            }
            ("ZREMRANGEBYRANK", [from, to]) => {
                let gone = &ranked[slice(ranked.len(), from, to)];
                scores.retain(|name, _| gone.iter().all(|(_, gone)| gone != name));
                count(gone.len())
            }
            other => panic!("the scripts use another command: {other:?}"),
        };
        if scores.is_empty() {
            self.keys.remove(key);
        }
        Ok(reply)
    }
}
