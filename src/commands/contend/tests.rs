//! Against a backend of our own making: what matters here is what is told to it, and in which order.

use std::cell::{Cell, RefCell};

use async_trait::async_trait;

use super::*;
use crate::lock::{
    Acquired, Claim, Contention, Holder, HolderEntry, KeyPattern, Lease, LeaseKind, LockBackend, LockStatus, Manner,
    Mode, OwnerToken, Patience, Prolonged, Release, Renewal, Revocation, Ttl,
};
use crate::settings::{Voice, Volume};

/// Answers an acquire as told, and remembers what it was asked.
struct Scripted {
    answer: Answer,
    asked: RefCell<Vec<&'static str>>,
}

#[derive(Clone)]
enum Answer {
    Granted,
    Held,
    Fails(BackendError),
    Waits(Option<Progress>),
}

#[async_trait(?Send)]
impl LockBackend for Scripted {
    async fn acquire(&self, claim: &Claim, progress: &dyn Fn(Progress)) -> Result<Acquired, BackendError> {
        self.asked.borrow_mut().push("acquire");
        match self.answer.clone() {
            Answer::Granted => Ok(Acquired::Granted(lease(claim))),
            Answer::Held => Ok(Acquired::Held(Contention::default())),
            Answer::Fails(error) => Err(error),
            Answer::Waits(news) => {
                if let Some(news) = news {
                    progress(news);
                }
                std::future::pending().await
            }
        }
    }

    async fn renew(&self, _: &Lease) -> Result<Renewal, BackendError> {
        unreachable!("a contender has nothing to renew")
    }

    async fn prolong(&self, _: &LockKey, _: &OwnerToken, _: Option<Duration>) -> Result<Prolonged, BackendError> {
        unreachable!("a contender has nothing to prolong")
    }

    async fn release(&self, _: &LockKey, _: &OwnerToken) -> Result<Release, BackendError> {
        self.asked.borrow_mut().push("release");
        Ok(Release::NotHeld)
    }

    async fn revoke(&self, _: &LockKey, _: &HolderEntry, _: Manner) -> Result<Revocation, BackendError> {
        unreachable!("a contender takes a lock from nobody")
    }

    async fn status(&self, _: &LockKey) -> Result<LockStatus, BackendError> {
        unreachable!("a contender asks no questions")
    }

    async fn list(&self, _: &KeyPattern) -> Result<Vec<LockStatus>, BackendError> {
        unreachable!("a contender asks no questions")
    }

    async fn forget(&self, _: &LockKey) -> Result<(), BackendError> {
        unreachable!("a contender forgets nothing")
    }

    async fn close(&self) {}
}

fn claim() -> Claim {
    Claim {
        key: LockKey::new("job").expect("a key"),
        token: OwnerToken::random(),
        holder: Holder::default(),
        ttl: Ttl::Exactly(Duration::from_secs(10)),
        kind: LeaseKind::OneShot,
        mode: Mode::Exclusive,
        looks_first: false,
        retention: crate::lock::Retention::default(),
        patience: Patience::Queue { reconnect_for: Duration::from_secs(10) },
    }
}

fn lease(claim: &Claim) -> Lease {
    Lease {
        key: claim.key.clone(),
        token: claim.token.clone(),
        ttl: claim.ttl.duration(),
        fence: None,
        requested_at: BootInstant::now(),
        valid_until: None,
        renew_every: None,
        expires_at: None,
    }
}

/// How contending ended, and what the backend was asked for it.
fn contended(answer: Answer, wait: Wait, signals: u32) -> (Result<Vec<Lease>, Error>, Vec<&'static str>) {
    let backend = Scripted { answer, asked: RefCell::default() };
    let signals = Cell::new(signals);
    let is_first = Cell::new(true);
    let interrupted = || {
        let arrives = signals.get() > 0;
        signals.set(signals.get().saturating_sub(1));
        let comes_later = is_first.replace(false);
        async move {
            if !arrives {
                return std::future::pending().await;
            }
            if comes_later {
                // By then the lock has been asked for.
                tokio::task::yield_now().await;
            }
            15
        }
    };
    let contest = Contest { wait, max_waiters: None, jitter: Duration::ZERO, conflict_status: 75 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let stderr = Stderr::new(Voice { volume: Volume::Quiet, ..Voice::NORMAL });
    let result = {
        let wanted = [Wanted { backend: &backend, claim: claim(), most_ahead: None }];
        match runtime.block_on(contend(&wanted, contest, "redis r1", stderr, interrupted)) {
            Ok(Contended::Granted(holding)) => Ok(holding.leases()),
            Ok(Contended::LostOne) => panic!("there is only one"),
            Err(error) => Err(error),
        }
    };
    (result, backend.asked.into_inner())
}

const A_MOMENT: Wait = Wait::For(Duration::from_millis(20));

fn waiting(ahead: usize) -> Option<Progress> {
    Some(Progress::Waiting(Contention { ahead: Some(ahead), ..Contention::default() }))
}

#[test]
fn a_grant_is_handed_on_and_nothing_undone() {
    let (result, asked) = contended(Answer::Granted, Wait::Forever, 0);
    assert_eq!(result.expect("granted")[0].key.as_str(), "job");
    assert_eq!(asked, ["acquire"]);
}

#[test]
fn a_refusal_is_a_conflict_with_nothing_left_to_undo() {
    let (result, asked) = contended(Answer::Held, Wait::Refuse, 0);
    let error = result.expect_err("held");
    assert_eq!(error.to_string(), r#"cannot acquire "job": held by somebody else"#);
    assert_eq!(asked, ["acquire"]);
}

#[test]
fn when_the_time_is_up_the_queue_is_left() {
    let (result, asked) = contended(Answer::Waits(waiting(3)), A_MOMENT, 0);
    let error = result.expect_err("never granted");
    assert_eq!(error.to_string(), r#"cannot acquire "job": held by somebody else; gave up after 20ms"#);
    assert!(matches!(error, Error::NotAcquired(refusal) if refusal.status == 75));
    assert_eq!(asked, ["acquire", "release"]);
}

#[test]
fn a_server_away_to_the_end_is_no_conflict() {
    let away = Progress::Disconnected(BackendError::unavailable("redis r1:6379 refused the connection"));
    let (result, asked) = contended(Answer::Waits(Some(away)), A_MOMENT, 0);
    let error = result.expect_err("never granted");
    assert_eq!(error.to_string(), r#"cannot acquire "job": redis r1:6379 refused the connection; gave up after 20ms"#);
    assert!(matches!(error, Error::Backend { .. }));
    assert_eq!(asked, ["acquire", "release"]);
}

#[test]
fn a_server_that_says_nothing_is_an_outage_after_a_second_and_no_sooner() {
    let (result, _) = contended(Answer::Waits(None), A_MOMENT, 0);
    let error = result.expect_err("never granted");
    assert_eq!(error.to_string(), r#"cannot acquire "job": redis r1 has not answered yet; gave up after 20ms"#);
    assert!(matches!(error, Error::NotAcquired(_)));
    let (result, _) = contended(Answer::Waits(None), Wait::For(Duration::from_secs(1)), 0);
    let error = result.expect_err("never granted");
    assert_eq!(error.to_string(), r#"cannot acquire "job": redis r1 does not answer; gave up after 1s"#);
    assert!(matches!(error, Error::Backend { .. }));
}

#[test]
fn a_failure_of_unknown_outcome_is_undone() {
    let (result, asked) = contended(Answer::Fails(BackendError::unavailable("no reply")), Wait::Forever, 0);
    assert_eq!(result.expect_err("failed").to_string(), r#"cannot acquire "job": no reply"#);
    assert_eq!(asked, ["acquire", "release"]);
}

#[test]
fn a_signal_ends_the_wait_and_the_queue_is_left() {
    let (result, asked) = contended(Answer::Waits(waiting(0)), Wait::Forever, 1);
    assert!(matches!(result, Err(Error::Interrupted(15))));
    assert_eq!(asked, ["acquire", "release"]);
}

#[test]
fn a_second_signal_ends_the_cleaning_up() {
    let (result, asked) = contended(Answer::Waits(waiting(0)), Wait::Forever, 2);
    assert!(matches!(result, Err(Error::Interrupted(15))));
    assert!(!asked.contains(&"release"), "{asked:?}");
}
