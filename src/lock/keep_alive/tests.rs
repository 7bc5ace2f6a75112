use std::cell::RefCell;
use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::lock::several::{Outcome, Wanted, acquire_all};
use crate::lock::{
    Acquired, Claim, Holder, HolderEntry, KeyPattern, LeaseKind, LockKey, LockStatus, Manner, Mode, OwnerToken,
    Patience, Progress, Prolonged, Release, Retention, Revocation, Ttl, validity,
};

/// Long enough for a loaded machine to keep up with, short enough to wait for.
const TTL: Duration = Duration::from_secs(1);

/// What the scripted backend does with one renewal.
enum Answer {
    Yours,
    /// "Yours", but for a lease that ends then.
    YoursUntil(BootInstant),
    Lost,
    Revoked,
    Error,
    Never,
    /// "Yours", this much later.
    YoursAfter(Duration),
}

/// Answers renewals from a list, and says how many were asked for.
struct Scripted {
    answers: RefCell<VecDeque<Answer>>,
    asked: Cell<usize>,
    /// Whether somebody else has touched the lock, and nobody was told yet.
    touched: Cell<bool>,
    /// What is granted to those who ask for a lock, in their order.
    grants: RefCell<VecDeque<Lease>>,
}

impl Scripted {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers = RefCell::new(answers.into_iter().collect());
        Self { answers, asked: Cell::new(0), touched: Cell::new(false), grants: RefCell::default() }
    }
}

#[async_trait::async_trait(?Send)]
impl LockBackend for Scripted {
    async fn renew(&self, _lease: &Lease) -> Result<Renewal, BackendError> {
        self.asked.set(self.asked.get() + 1);
        let valid_until = BootInstant::now() + validity::of_server_lease(TTL);
        let answer = self.answers.borrow_mut().pop_front().unwrap_or(Answer::Never);
        match answer {
            Answer::Yours => Ok(Renewal::Renewed { valid_until }),
            Answer::YoursUntil(valid_until) => Ok(Renewal::Renewed { valid_until }),
            Answer::Revoked => Ok(Renewal::Revoked { valid_until }),
            Answer::Lost => Ok(Renewal::Lost),
            Answer::Error => Err(BackendError::unavailable("scripted")),
            Answer::Never => std::future::pending().await,
            Answer::YoursAfter(pause) => {
                tokio::time::sleep(pause).await;
                Ok(Renewal::Renewed { valid_until })
            }
        }
    }

    async fn revoke(&self, _: &LockKey, _: &HolderEntry, _: Manner) -> Result<Revocation, BackendError> {
        unreachable!("a holder takes its lock from nobody")
    }

    async fn touched(&self, _: &Lease) {
        if !self.touched.replace(false) {
            std::future::pending::<()>().await;
        }
    }

    async fn acquire(&self, _: &Claim, _: &dyn Fn(Progress)) -> Result<Acquired, BackendError> {
        Ok(Acquired::Granted(self.grants.borrow_mut().pop_front().expect("a renewer acquires nothing")))
    }
    async fn prolong(&self, _: &LockKey, _: &OwnerToken, _: Option<Duration>) -> Result<Prolonged, BackendError> {
        unreachable!("a renewer prolongs nothing")
    }
    async fn release(&self, _: &LockKey, _: &OwnerToken) -> Result<Release, BackendError> {
        unreachable!("a renewer releases nothing")
    }
    async fn status(&self, _: &LockKey) -> Result<LockStatus, BackendError> {
        unreachable!("a renewer asks for no status")
    }
    async fn list(&self, _: &KeyPattern) -> Result<Vec<LockStatus>, BackendError> {
        unreachable!("a renewer lists nothing")
    }
    async fn forget(&self, _: &LockKey) -> Result<(), BackendError> {
        unreachable!("a renewer forgets nothing")
    }
    async fn close(&self) {}
}

fn lease_asked_for_at(requested_at: BootInstant) -> Renewing {
    Renewing::new(Lease {
        key: LockKey::new("job").expect("a key"),
        token: OwnerToken::random(),
        ttl: TTL,
        fence: None,
        requested_at,
        valid_until: Some(requested_at + validity::of_server_lease(TTL)),
        renew_every: Some(TTL / 3),
        expires_at: None,
    })
}

fn run(renewing: &Renewing, backend: &Scripted, beat: &dyn Fn(Beat<'_>)) -> Ended {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let notice = Pace::of(TTL).notice();
    runtime.block_on(renewing.keep_alive(backend, notice, beat)).expect("descriptors are left")
}

#[test]
fn each_answer_moves_the_deadline_until_one_says_not_yours() {
    let renewing = lease_asked_for_at(BootInstant::now());
    let deadlines = RefCell::new(vec![renewing.valid_until()]);
    let backend = Scripted::new([Answer::Yours, Answer::Yours, Answer::Lost]);
    let ended = run(&renewing, &backend, &|_| deadlines.borrow_mut().push(renewing.valid_until()));
    assert_eq!(ended, Ended::Lost);
    assert_eq!(deadlines.borrow().len(), 3);
    assert!(deadlines.borrow().is_sorted());
}

#[test]
fn a_lock_that_somebody_has_touched_is_asked_after_at_once_and_once() {
    let renewing = lease_asked_for_at(BootInstant::now());
    let backend = Scripted::new([Answer::Yours, Answer::Lost]);
    backend.touched.set(true);
    let began = BootInstant::now();
    let first_answer = Cell::new(None);
    assert_eq!(run(&renewing, &backend, &|_| first_answer.set(Some(BootInstant::now()))), Ended::Lost);
    let first_answer = first_answer.take().expect("there were two");
    assert!(first_answer.since(began) < TTL / 3, "it is not left until the next renewal is due");
    assert!(BootInstant::now().since(first_answer) >= TTL / 4, "and then they go on as before");
}

#[test]
fn a_failed_renewal_is_tried_again_within_the_lease() {
    let renewing = lease_asked_for_at(BootInstant::now());
    let backend = Scripted::new([Answer::Error, Answer::Error, Answer::Yours, Answer::Lost]);
    assert_eq!(run(&renewing, &backend, &|_| {}), Ended::Lost);
    assert_eq!(backend.asked.get(), 4);
}

#[test]
fn a_silent_backend_is_asked_again_and_the_command_still_gets_its_notice() {
    let renewing = lease_asked_for_at(BootInstant::now());
    let backend = Scripted::new([Answer::Never, Answer::Never, Answer::Never]);
    let ended = run(&renewing, &backend, &|_| {});
    assert!(matches!(&ended, Ended::Unrenewed(Some(error)) if error.message.contains("no answer")), "{ended:?}");
    assert!(backend.asked.get() >= 2, "one silence must not end the attempts");
    assert!(!renewing.valid_until().expect("a deadline").has_passed(), "the notice lies before the deadline");
}

#[test]
fn a_lease_that_ran_out_while_we_were_stopped_is_not_asked_for_again() {
    let long_ago = BootInstant::now() - TTL * 2;
    let renewing = lease_asked_for_at(long_ago);
    let backend = Scripted::new([Answer::Yours]);
    assert_eq!(run(&renewing, &backend, &|_| {}), Ended::Unrenewed(None));
    assert_eq!(backend.asked.get(), 0);
}

/// The lock may have become another's between the deadline and the answer.
#[test]
fn an_answer_after_the_deadline_extends_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let almost_over = BootInstant::now() - (validity::of_server_lease(TTL) - Duration::from_millis(20));
    let renewing = lease_asked_for_at(almost_over);
    let before = renewing.valid_until();
    let late = Scripted::new([Answer::YoursAfter(Duration::from_millis(50))]);
    assert!(!runtime.block_on(renewing.renew_once(&late)));
    assert_eq!((late.asked.get(), renewing.valid_until()), (1, before));
    assert!(before.is_some_and(BootInstant::has_passed), "it came too late");
}

#[test]
fn a_failed_renewal_is_tried_again_within_a_tenth_of_the_lease() {
    let renewing = lease_asked_for_at(BootInstant::now());
    let backend = Scripted::new([Answer::Error, Answer::Yours, Answer::Lost]);
    let failed_at = Cell::new(None);
    let pause = Cell::new(None);
    let note = |beat: Beat<'_>| match beat {
        Beat::Failed(_) => failed_at.set(Some(BootInstant::now())),
        Beat::Renewed => pause.set(failed_at.get().map(|failed| BootInstant::now().since(failed))),
    };
    assert_eq!(run(&renewing, &backend, &note), Ended::Lost);
    let pause = pause.get().expect("it was renewed after a failure");
    assert!(pause >= TTL / 20 && pause < TTL / 4, "and not a third later: {pause:?}");
}

/// Numbers that were measured: a node went as early as 0.735 of its timeout after the last answer, if the write before that
/// one was old, and 0.95 after the write before.
#[test]
fn what_an_answer_is_worth_is_what_was_measured() {
    let seconds = Duration::from_secs_f64;
    assert_eq!(validity::of_server_lease(seconds(30.0)), seconds(29.698));
    let at = |time: f64| BootInstant::from_nanos(0) + seconds(time);
    assert_eq!(validity::of_session(seconds(30.0), at(100.0), at(97.0)), at(120.0));
    assert_eq!(validity::of_session(seconds(30.0), at(100.0), at(91.0)), at(119.5));
}

#[test]
fn an_answer_for_an_earlier_end_moves_nothing_back() {
    let renewing = lease_asked_for_at(BootInstant::now());
    let before = renewing.valid_until();
    let backend = Scripted::new([Answer::YoursUntil(BootInstant::from_nanos(1)), Answer::Lost]);
    run(&renewing, &backend, &|_| assert_eq!(renewing.valid_until(), before));
}

#[test]
fn a_revocation_ends_the_renewing_and_keeps_the_lease() {
    let renewing = lease_asked_for_at(BootInstant::now());
    let before = renewing.valid_until();
    let backend = Scripted::new([Answer::Revoked]);
    assert_eq!(run(&renewing, &backend, &|_| {}), Ended::Revoked);
    assert!(renewing.valid_until() > before);
}

#[test]
fn what_needs_no_renewal_ends_when_it_was_touched_and_is_asked_back() {
    let lease =
        Lease { valid_until: None, renew_every: None, ..lease_asked_for_at(BootInstant::now()).lease().clone() };
    let renewing = Renewing::new(lease);
    let backend = Scripted::new([Answer::Revoked]);
    backend.touched.set(true);
    assert_eq!(run(&renewing, &backend, &|_| {}), Ended::Revoked);
    assert_eq!(backend.asked.get(), 1);
}

#[test]
fn stopping_ends_it_without_another_question() {
    let renewing = lease_asked_for_at(BootInstant::now());
    let backend = Scripted::new([]);
    renewing.stop();
    assert_eq!(run(&renewing, &backend, &|_| {}), Ended::Stopped);
    assert_eq!(backend.asked.get(), 0);
}

#[test]
fn stopping_lets_the_question_in_flight_be_answered_first() {
    let renewing = lease_asked_for_at(BootInstant::now());
    let backend = Scripted::new([Answer::Yours]);
    let before = renewing.valid_until();
    let ended = run(&renewing, &backend, &|_| renewing.stop());
    assert_eq!((ended, backend.asked.get()), (Ended::Stopped, 1));
    assert!(renewing.valid_until() > before);
}

#[test]
fn one_timely_renewal_makes_a_half_spent_lease_fresh() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let renewing = lease_asked_for_at(BootInstant::now() - TTL * 2 / 3);
    assert!(renewing.is_half_spent());
    assert!(runtime.block_on(renewing.renew_once(&Scripted::new([Answer::Yours]))));
    assert!(!renewing.as_of_now().requested_at.remaining().gt(&Duration::ZERO));

    let renewing = lease_asked_for_at(BootInstant::now() - TTL * 2 / 3);
    assert!(!runtime.block_on(renewing.renew_once(&Scripted::new([Answer::Lost]))));
}

/// What the processes that watch the deadline are told of: nothing may live when the first of several leases is over.
#[test]
fn of_several_leases_the_first_to_end_is_the_deadline_of_all() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let now = BootInstant::now();
    let leases = [now, now - TTL / 4, now - TTL / 8].map(|asked_at| lease_asked_for_at(asked_at).lease().clone());
    let backend = Scripted::new([]);
    backend.grants.borrow_mut().extend(leases.iter().cloned());
    let wanted: Vec<Wanted<'_>> =
        ["a", "b", "c"].map(|name| Wanted { backend: &backend, claim: claim(name), most_ahead: None }).into();
    let acquired = runtime.block_on(acquire_all(&wanted, &Cell::new(0), &|_, _| {}));
    let Ok(Outcome::Granted(holding)) = acquired else { panic!("all of them are free") };
    assert_eq!(holding.valid_until(), leases[1].valid_until);
}

fn claim(name: &str) -> Claim {
    Claim {
        key: LockKey::new(name).expect("a key"),
        token: OwnerToken::random(),
        holder: Holder::default(),
        ttl: Ttl::Exactly(TTL),
        kind: LeaseKind::Running,
        patience: Patience::Refuse,
        mode: Mode::Exclusive,
        looks_first: false,
        retention: Retention::default(),
    }
}

proptest! {
    #[test]
    fn validity_never_exceeds_the_lease_and_never_outlives_the_write_before(
        millis in 1_000_u64..=366 * 86_400_000, apart in 0_u64..100_000,
    ) {
        let timeout = Duration::from_millis(millis);
        prop_assert!(validity::of_server_lease(timeout) < timeout);
        let before = BootInstant::from_nanos(1_000_000_000);
        let last = before + Duration::from_millis(apart);
        let until = validity::of_session(timeout, last, before);
        prop_assert!(until < last + timeout && until < before + timeout);
    }
}
