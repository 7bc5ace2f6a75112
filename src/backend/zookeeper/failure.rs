//! What the client crate's errors mean to somebody who wants a lock.

use zookeeper_client::{Error, MultiWriteError};

use super::endpoint::ConnectString;
use crate::lock::BackendError;

/// The sentence for `error`, which ended the attempt to `verb`.
pub(super) fn explained(ensemble: &ConnectString, verb: &str, error: &Error) -> BackendError {
    let at = ensemble.shown();
    match error {
        Error::NoAuth => BackendError::denied(format!(
            "{at} does not allow to {verb}: the ACL of the key's node, or of one above it, forbids it; name a user \
             whom it lets with --zk-auth-file (a wrong password counts as another user)"
        )),
        Error::AuthFailed => BackendError::denied(format!(
            "{at} refused the authentication; it may ask for another scheme than digest, or for one at all \
             (--zk-auth-file)"
        )),
        Error::InvalidAcl => BackendError::denied(format!(
            "{at} does not know who we are, and cannot {verb} with an ACL for the creator alone; name a user with \
             --zk-auth-file"
        )),
        Error::QuotaExceeded => BackendError::misconfigured(format!(
            "{at} has a quota that is used up and refused to {verb}: raise it with setquota"
        )),
        Error::NoChildrenForEphemerals => BackendError::misconfigured(format!(
            "the key's node on {at}, or the namespace's, is somebody's ephemeral node, which cannot hold locks; choose \
             another key or --namespace"
        )),
        Error::Unimplemented => {
            BackendError::misconfigured(format!("{at} cannot {verb}: ZooKeeper 3.5 or later is needed"))
        }
        Error::NotReadOnly => {
            BackendError::unavailable(format!("{at} is read-only for now (no quorum) and refused to {verb}"))
        }
        Error::Throttled => BackendError::unavailable(format!("{at} is overloaded and refused to {verb}")),
        Error::SessionExpired => {
            BackendError::unavailable(format!("the session with {at} expired while it was asked to {verb}"))
        }
        Error::ConnectionLoss | Error::Timeout | Error::ClientClosed | Error::SessionMoved | Error::Custom(_) => {
            BackendError::unavailable(format!("lost the connection to {at} while it was asked to {verb}"))
        }
        other => BackendError::unavailable(format!("{at} failed to {verb}: {other}")),
    }
}

/// Whether the request may have been carried out, or may still be.
pub(super) fn leaves_the_outcome_open(error: &Error) -> bool {
    matches!(
        error,
        Error::ConnectionLoss
            | Error::Timeout
            | Error::Custom(_)
            | Error::UnexpectedError(_)
            | Error::UnmarshalError { .. }
            | Error::Throttled
            // A server that was frozen has read an old attempt to attach; the next attempt takes the session back.
            | Error::SessionMoved
    )
}

/// The error of the one operation that failed, or of the request as a whole.
pub(super) fn of_multi(error: MultiWriteError) -> Error {
    error.into()
}

/// A request that had no answer when the time was over.
pub(super) fn no_answer(ensemble: &ConnectString, verb: &str) -> BackendError {
    BackendError::unavailable(format!("{} gave no answer in time when asked to {verb}", ensemble.shown()))
}

/// The chroot is the one node that dlock never creates: a misspelt one would make locks that nobody shares.
pub(super) fn no_chroot(ensemble: &ConnectString) -> BackendError {
    let chroot = ensemble.chroot();
    BackendError::misconfigured(format!(
        "the chroot {chroot} does not exist on {}: create it (zkCli.sh create {chroot}) or correct --zk",
        ensemble.shown()
    ))
}
