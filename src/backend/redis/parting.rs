//! Giving a lock back. What breaks it: a release that is carried out twice, or before the request that it undoes.

use redis::{Cmd, Value};

use super::contender::kept_words;
use super::names::Names;
use super::script::{RELEASE, RELEASE_ALONE, eval};
use super::{RedisBackend, unexpected};
use crate::lock::{BackendError, FIRST_CONTACT, LockKey, OwnerToken, Parting, Release};
use crate::sys::seeded::seeded;

/// What quick/release.lua answers, having done nothing, of a lease that is for release.lua.
const FOR_THE_WHOLE: i64 = 2;

impl RedisBackend {
    /// Asks for the release that most leases need where the lease may be one of these, and for the whole of it otherwise.
    pub(super) async fn give_up(
        &self,
        key: &LockKey,
        token: &OwnerToken,
        parting: Parting,
    ) -> Result<Release, BackendError> {
        let names = self.names(key)?;
        let this = (key.clone(), token.clone());
        let undo = if self.on_their_way.borrow().contains(&this) { "undo" } else { "" };
        let request = |again| {
            eval(RELEASE, &names.all(), &[token.secret(), &names.wake_prefix(), undo, again, kept_words(parting)])
        };
        // Until an answer says otherwise; also when the caller drops this future.
        let first_try = self.maybe_released.borrow_mut().insert(this.clone());
        if seeded!("releases-whatever-is-there") {
            let request = Cmd::del(names.lock());
            self.route.ask_twice(names.lock(), &request, &|| request.clone(), FIRST_CONTACT).await.ok();
        }
        let ask = async |first: Cmd| {
            let asked = self.route.ask_twice(names.lock(), &first, &|| request("again"), FIRST_CONTACT).await;
            asked.map_err(|failure| failure.error)
        };
        if self.waited_for.borrow_mut().remove(&this) {
            self.route.give_way(names.lock());
        }
        let mut reply = Value::Int(FOR_THE_WHOLE);
        let alone = self.held_alone.borrow_mut().remove(&this);
        if let Some(prepared) = alone.filter(|_| first_try && undo.is_empty()) {
            reply = ask(prepared.unwrap_or_else(|| release_alone(&names, token))).await?;
        }
        if reply == Value::Int(FOR_THE_WHOLE) {
            reply = ask(request(if first_try { "" } else { "again" })).await?;
        }
        self.maybe_released.borrow_mut().remove(&this);
        self.on_their_way.borrow_mut().remove(&this);
        match reply {
            Value::Int(1) => Ok(Release::Released),
            Value::Int(0) => Ok(Release::NotHeld),
            _ => Err(unexpected(&*self.route)),
        }
    }

    /// Puts together what most leases are given back by.
    pub(super) fn prepare_releases(&self) {
        for ((key, token), release) in self.held_alone.borrow_mut().iter_mut() {
            *release = self.names(key).ok().map(|names| release_alone(&names, token));
        }
    }
}

fn release_alone(names: &Names, token: &OwnerToken) -> Cmd {
    eval(RELEASE_ALONE, &names.all(), &[token.secret(), &names.wake_prefix()])
}
