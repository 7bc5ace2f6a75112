//! One try to be granted the lock by a majority. What breaks it: votes that are left behind when it fails.

use std::time::Duration;

use super::{Answers, MastersBackend, node_limit};
use crate::backend::redis::failure::Failure;
use crate::backend::redis::names::Names;
use crate::backend::redis::quorum::{Attempt, Step, Verdict, Vote, next_fence};
use crate::backend::redis::reply::{self, Taken};
use crate::backend::redis::script::{FENCE, TAKE, eval, millis};
use crate::backend::redis::value::{LockValue, ServerTime};
use crate::backend::redis::{Contender, first_expiry, lease_of, unexpected};
use crate::lock::validity::of_server_lease;
use crate::lock::{BackendError, Claim, Contention, FencingToken, Lease, LeaseKind, OwnerToken, Parting};
use crate::sys::boottime::BootInstant;
use crate::sys::seeded::seeded;

/// How long a recorded number outlives the longest lease under it; what a single server's does.
const FENCE_LIFE: Duration = Duration::from_secs(24 * 3600);

/// How an attempt ended. Unless it was granted, nothing of it is left where a master could be told.
pub(super) enum Outcome {
    Granted(Box<Lease>),
    Refused(Contention),
    Unreachable(BackendError),
}

/// What a master gave.
struct Grant {
    master: usize,
    sent: BootInstant,
    fence: u64,
    now: ServerTime,
}

impl MastersBackend {
    /// # Errors
    /// When trying again would not help.
    pub(super) async fn attempt(&self, claim: &Claim, token: OwnerToken) -> Result<Outcome, BackendError> {
        let names = Names::of(&self.namespace, &claim.key)?;
        self.attempts.borrow_mut().insert((claim.key.clone(), claim.token.clone()), token.clone());
        let claim = &Claim { token, ..claim.clone() };
        let mut vote = Attempt::new(self.quorum, |master| self.silent.borrow().contains(&master));
        let outcome = match self.canvass(claim, &names, &mut vote).await {
            Ok(Outcome::Granted(lease)) => return Ok(Outcome::Granted(lease)),
            failed => failed,
        };
        if seeded!("leaves-its-votes") {
            return outcome;
        }
        let limit = node_limit(claim.ttl.duration());
        self.release_on(&names, &claim.key, (&claim.token, Parting::Unused), vote.touched(), limit, |_| false).await;
        outcome
    }

    async fn canvass(&self, claim: &Claim, names: &Names, vote: &mut Attempt) -> Result<Outcome, BackendError> {
        let began = BootInstant::now();
        let mut grants = Vec::new();
        let mut errors = Vec::new();
        let mut asked = 0;
        let mut contention = Contention::default();
        loop {
            let masters = match vote.next() {
                Step::Ask(masters) => masters,
                Step::Won => return self.won(claim, names, began, grants).await,
                Step::Refused => return Ok(Outcome::Refused(contention)),
                Step::Unreachable => return Ok(Outcome::Unreachable(self.too_few(asked, errors.into_iter()))),
            };
            asked += masters.len();
            // Whoever is cut off in here is known to have been asked.
            masters.iter().for_each(|master| vote.record(*master, Vote::Silent));
            let ask = async |master: usize| self.take(claim, names, master).await;
            let limit = node_limit(claim.ttl.duration());
            let majority = vote.granted().len() >= self.quorum.majority();
            for (master, answer) in self.ask_all(masters, limit, &ask, |_| majority).await {
                match answer {
                    Ok((sent, Taken::Granted { fence, now })) => {
                        vote.record(master, Vote::Granted);
                        grants.push(Grant { master, sent, fence, now });
                    }
                    Ok((_, Taken::Held { value, now })) => {
                        vote.record(master, Vote::Refused);
                        contention = whom(&value, now);
                    }
                    Ok((_, Taken::OtherNumber(number))) => return Err(self.counts_otherwise(master, number)),
                    Ok((_, Taken::Twice)) => return Err(self.counted_twice(master)),
                    Ok((_, Taken::Undone)) => {
                        return Err(BackendError::usage("this claim has been released already"));
                    }
                    // Data of another type: somebody else's, and no majority makes it ours.
                    Err(error) if error.kind == crate::lock::ErrorKind::Misconfigured => return Err(error),
                    Err(error) => errors.push(error),
                }
            }
        }
    }

    /// Asks one master for its vote. Never twice.
    async fn take(&self, claim: &Claim, names: &Names, master: usize) -> Result<(BootInstant, Taken), Failure> {
        let node = &self.nodes[master];
        let contender = Contender::of(claim);
        let masters = self.nodes.len().to_string();
        let mut args = contender.args();
        args.truncate(5);
        args.push(&masters);
        let request = eval(TAKE, &names.all(), &args);
        let this = (master, claim.key.clone(), claim.token.clone());
        self.on_their_way.borrow_mut().insert(this.clone());
        let sent = BootInstant::now();
        let outcome = node.ask(&request, node_limit(claim.ttl.duration())).await;
        if !matches!(outcome, Err(Failure { answered: false, .. })) {
            self.on_their_way.borrow_mut().remove(&this);
        }
        let taken = reply::taken(&outcome?).ok_or_else(|| Failure::unanswered(unexpected(node)))?;
        Ok((sent, taken))
    }

    /// Makes a lease of the votes: records its fence where they were given, which a majority has to confirm.
    async fn won(
        &self,
        claim: &Claim,
        names: &Names,
        began: BootInstant,
        grants: Vec<Grant>,
    ) -> Result<Outcome, BackendError> {
        let ttl = claim.ttl.duration();
        let fence = next_fence(grants.iter().map(|grant| grant.fence));
        let life = millis(FENCE_LIFE + ttl);
        let request = eval(
            FENCE,
            &[names.lock().to_owned(), names.side("fence")],
            &[claim.token.secret(), &fence.to_string(), &life],
        );
        let ask = async |master: usize| {
            let reply = self.nodes[master].ask_twice(&request, &|| request.clone(), node_limit(ttl)).await?;
            match reply {
                redis::Value::Int(1) => Ok(true),
                redis::Value::Int(0) => Ok(false),
                _ => Err(Failure::unanswered(unexpected(&self.nodes[master]))),
            }
        };
        let decided = |answers: &Answers<bool>| self.verdict_of(answers) == Verdict::Ours;
        let masters: Vec<usize> = grants.iter().map(|grant| grant.master).collect();
        let answers = self.ask_all(masters, node_limit(ttl), &ask, decided).await;
        let recorded: Vec<usize> = answers.iter().filter(|(_, a)| *a == Ok(true)).map(|(master, _)| *master).collect();
        let kept = grants.iter().filter(|grant| recorded.contains(&grant.master));
        let deadlines = kept.map(|grant| grant.sent + of_server_lease(first_expiry(claim))).collect();
        let Some(valid_until) = self.quorum.valid_until(deadlines) else {
            let errors = answers.into_iter().filter_map(|(_, answer)| answer.err());
            return Ok(Outcome::Unreachable(self.too_few(grants.len(), errors)));
        };
        let mut lease = lease_of(claim, began, valid_until, Some(FencingToken(fence)));
        if claim.kind == LeaseKind::OneShot {
            if first_expiry(claim) < ttl {
                lease.requested_at = BootInstant::now();
                let (verdict, deadlines, _) = self.renew_all(&claim.key, &claim.token, ttl).await?;
                match self.quorum.valid_until(deadlines) {
                    Some(valid_until) if verdict == Verdict::Ours => lease.valid_until = Some(valid_until),
                    _ => return Ok(Outcome::Unreachable(self.too_slow())),
                }
            }
            let raised_after = lease.requested_at.since(began);
            let granted_at = grants.first().and_then(|grant| grant.now.wall());
            lease.expires_at = granted_at.map(|at| at + raised_after + ttl);
        }
        if lease.valid_until.is_some_and(BootInstant::has_passed) {
            return Ok(Outcome::Unreachable(self.too_slow()));
        }

        Ok(Outcome::Granted(Box::new(lease)))
    }

    fn too_slow(&self) -> BackendError {
        BackendError::unavailable(format!("the {} masters answered too slowly for this --ttl", self.nodes.len()))
    }

    fn counted_twice(&self, master: usize) -> BackendError {
        BackendError::misconfigured(format!(
            "{} is a server that was asked already under another name; name each master once",
            self.nodes[master].endpoint().masked()
        ))
    }

    fn counts_otherwise(&self, master: usize, number: u64) -> BackendError {
        BackendError::misconfigured(format!(
            "held on {} by somebody who counts {number} masters, and {} were named here; name the same everywhere",
            self.nodes[master].endpoint().masked(),
            self.nodes.len()
        ))
    }
}

/// Whom a master would not have us beside.
fn whom(value: &[u8], now: ServerTime) -> Contention {
    match LockValue::parse(value) {
        LockValue::Ours(record) => Contention {
            since: record.since.wall(),
            held_for: Some(now.since(record.since)),
            holder: Some(record.holder),
            ..Contention::default()
        },
        LockValue::Foreign => Contention::default(),
    }
}
