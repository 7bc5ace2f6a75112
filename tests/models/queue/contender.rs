//! A contender of the queue, as `src/backend/redis/waiting.rs` and the run command have it, without its connection.

use std::time::Duration;

use dlock::lock::validity::of_server_lease;

use super::super::keyspace::Reply;
use super::TTL_MS;

/// How long a waiter sleeps after a look at most.
const LOOK_AGAIN_MS: u64 = TTL_MS / 3;

/// A key is gone only when its last millisecond is over.
const RESOLUTION_MS: u64 = 2;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    #[default]
    Idle,
    Asking,
    Queued,
    Holding,
    Leaving,
    Done,
    Dead,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Request {
    Acquire,
    Look {
        ticket: String,
        /// Tokens that were seen to hold, and the ms that their leases have left.
        seen: Vec<(String, u64)>,
    },
    /// The same for a lock that may have been offered; answered with "awaited" where it was not.
    Take {
        seen: Vec<(String, u64)>,
    },
    Renew,
    /// Answered with 2 where it is not the release of most leases.
    ReleaseAlone,
    Release {
        undo: bool,
        again: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct InFlight {
    pub(super) request: Request,
    pub(super) sent: u64,
    pub(super) reply: Option<Reply>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Client {
    pub(super) stage: Stage,
    pub(super) request: Option<InFlight>,
    /// The server counts its subscription.
    pub(super) listens: bool,
    /// A message is on its way to it.
    pub(super) hint: bool,
    pub(super) wake_at: u64,
    valid_until: u64,
    pub(super) held: bool,
    seen: Vec<(String, u64)>,
    ticket: Option<(String, u64)>,
    /// A request that may grant something may still be carried out.
    on_its_way: bool,
    maybe_released: bool,
}

impl Client {
    pub(super) fn believes(&self, now: u64) -> bool {
        self.stage == Stage::Holding && now < self.valid_until
    }

    pub(super) fn ask(&mut self, request: Request, now: u64) {
        if self.stage == Stage::Idle {
            self.stage = Stage::Asking;
        }
        self.request = Some(InFlight { request, sent: now, reply: None });
    }

    /// Subscribes where it has not yet, and looks.
    pub(super) fn look(&mut self, now: u64) {
        self.stage = Stage::Queued;
        (self.listens, self.hint) = (true, false);
        self.seen.retain(|(_, over)| *over > now);
        let ticket = self.ticket.as_ref().filter(|(_, over)| *over > now).map_or("", |(ticket, _)| ticket).to_owned();
        self.ask(Request::Look { ticket, seen: self.leases_seen(now) }, now);
    }

    /// Somebody told it to look.
    pub(super) fn take(&mut self, now: u64) {
        self.hint = false;
        self.seen.retain(|(_, over)| *over > now);
        self.ask(Request::Take { seen: self.leases_seen(now) }, now);
    }

    fn leases_seen(&self, now: u64) -> Vec<(String, u64)> {
        self.seen.iter().map(|(token, over)| (token.clone(), over - now)).collect()
    }

    pub(super) fn leave(&mut self, now: u64) {
        self.stage = Stage::Leaving;
        (self.listens, self.hint) = (false, false);
        let request = match (self.on_its_way, self.maybe_released) {
            (false, false) => Request::ReleaseAlone,
            (undo, again) => Request::Release { undo, again },
        };
        self.ask(request, now);
    }

    /// Its subscription lasts until the server notices.
    pub(super) fn die(&mut self) {
        *self = Self { stage: Stage::Dead, listens: self.listens, held: self.held, ..Self::default() };
    }

    pub(super) fn hear(&mut self, request: &Request, sent: u64, reply: &Reply, now: u64) {
        let parts = match reply {
            Reply::List(parts) => parts.as_slice(),
            _ => &[],
        };
        match (request, parts) {
            (Request::ReleaseAlone, _) if *reply == Reply::Int(2) => {
                self.ask(Request::Release { undo: false, again: false }, now);
            }
            (Request::ReleaseAlone | Request::Release { .. }, _) => {
                // Whatever it asked before is over: nothing of it is left to tell states apart by.
                *self = Self { stage: Stage::Done, held: self.held, ..Self::default() };
            }
            (Request::Renew, [Reply::Int(1), _]) if now < self.valid_until => {
                self.valid_until = self.valid_until.max(sent + believed_ms());
            }
            // Not ours, or answered too late to count.
            (Request::Renew, _) => self.leave(now),
            (_, [Reply::Text(word), _, _]) if word == "granted" => {
                let on_its_way = self.on_its_way;
                *self = Self {
                    stage: Stage::Holding,
                    valid_until: sent + believed_ms(),
                    held: true,
                    on_its_way,
                    ..Self::default()
                };
            }
            (Request::Acquire, [Reply::Text(word), rest @ ..]) if word == "held" => {
                self.note(rest, now);
                self.look(now);
            }
            (Request::Acquire | Request::Take { .. }, [Reply::Text(word)]) if word == "awaited" => self.look(now),
            (Request::Look { .. }, [Reply::Text(word), Reply::Int(left)]) if word == "vanished" => {
                self.wake_at = now + (ms(*left) + RESOLUTION_MS).min(LOOK_AGAIN_MS);
                self.ticket = self.ticket.take().map(|(ticket, _)| (ticket, sent + TTL_MS));
            }
            (Request::Look { .. }, [Reply::Text(word), rest @ ..]) if word == "held" => {
                self.note(rest, now);
                let [_, _, _, _, _, _, Reply::Int(next), _, _, due, Reply::Text(ticket)] = rest else {
                    panic!("a held reply of wait.lua is as its head says: {rest:?}")
                };
                self.ticket = Some((ticket.clone(), sent + TTL_MS));
                let pause = match due {
                    Reply::Int(due) if *next == 1 && *due >= 0 => LOOK_AGAIN_MS.min(ms(*due) + RESOLUTION_MS),
                    _ => LOOK_AGAIN_MS,
                };
                self.wake_at = now + pause;
            }
            other => panic!("no answer to this request: {other:?}"),
        }
    }

    pub(super) fn hear_nothing(&mut self, request: &Request, now: u64) {
        match request {
            // The command line's first contact: an error, and what may have been granted is undone.
            Request::Acquire => {
                self.on_its_way = true;
                self.leave(now);
            }
            // It connects again, and its subscription is gone meanwhile.
            Request::Look { .. } | Request::Take { .. } => {
                self.on_its_way = true;
                (self.listens, self.hint) = (false, false);
                self.wake_at = now;
            }
            Request::Renew => {}
            Request::ReleaseAlone | Request::Release { .. } => {
                self.maybe_released = true;
                self.leave(now);
            }
        }
    }

    /// Remembers whose lease was seen.
    fn note(&mut self, held: &[Reply], now: u64) {
        if let Some(Reply::List(given_up)) = held.get(8) {
            self.seen.retain(|(token, _)| !given_up.contains(&Reply::Text(token.clone())));
        }
        let [Reply::Text(value), Reply::Int(left), ..] = held else { return };
        if let (Some(owner), Ok(left)) = (value.get(..32), u64::try_from(*left)) {
            self.seen.retain(|(token, _)| token != owner);
            self.seen.push((owner.to_owned(), now + left));
        }
    }
}

fn believed_ms() -> u64 {
    u64::try_from(of_server_lease(Duration::from_millis(TTL_MS)).as_millis()).expect("a few seconds")
}

fn ms(number: i64) -> u64 {
    u64::try_from(number).expect("not negative")
}
