//! How we get in: plainly or by TLS, as whom, and what others may do with the nodes that we create.

use std::cell::RefCell;
use std::fmt;

use thiserror::Error;
use tokio::task::JoinSet;
use zookeeper_client::{Acl, Acls, Permission};

use super::endpoint::{ConnectString, Transport};
use super::tunnel::Tunnels;
use crate::backend::tls::Tls;
use crate::lock::BackendError;

/// What a user has set up to get in.
#[derive(Debug, Clone, Default)]
pub struct Access {
    pub tls: Tls,
    pub credentials: Option<Credentials>,
    pub acl: AclPolicy,
}

/// A user and a password, for ZooKeeper's digest scheme; never shown.
#[derive(Clone)]
pub struct Credentials(String);

/// Why a text holds no credentials. It is not repeated: it may hold the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidCredentials {
    #[error("it has no colon; write user:password")]
    NoColon,
    #[error("there is no user before the colon; write user:password")]
    NoUser,
    #[error("there is no password after the colon; write user:password")]
    NoPassword,
}

impl Credentials {
    /// Reads `user:password`; the password may hold further colons.
    ///
    /// # Errors
    /// When one of the two is missing: ZooKeeper would take that for a user that nobody has.
    pub fn parse(text: &str) -> Result<Self, InvalidCredentials> {
        match text.split_once(':') {
            None => Err(InvalidCredentials::NoColon),
            Some(("", _)) => Err(InvalidCredentials::NoUser),
            Some((_, "")) => Err(InvalidCredentials::NoPassword),
            Some(_) => Ok(Self(text.to_owned())),
        }
    }

    /// For the server, and nowhere else.
    pub(super) fn reveal(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

/// What others may do with the nodes that we create.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AclPolicy {
    /// Everything.
    #[default]
    Open,
    /// Contenders are the creator's to change and everybody's to read, below nodes that are open: whoever may
    /// contend may also delete, which is the parent's to allow.
    Contenders,
    /// Everything is the creator's alone.
    Creator,
}

impl AclPolicy {
    /// For contenders, whether they hang on a session or not.
    pub(super) fn of_contenders(self) -> Acls<'static> {
        static CREATORS_AND_READABLE: [Acl; 2] =
            [Acl::new_const(Permission::ALL, "auth", ""), Acl::new_const(Permission::READ, "world", "anyone")];
        match self {
            Self::Open => Acls::anyone_all(),
            Self::Contenders => Acls::from(&CREATORS_AND_READABLE[..]),
            Self::Creator => Acls::creator_all(),
        }
    }

    /// For what everybody who uses the namespace has in common: directories, and the leader's clock.
    pub(super) fn of_common_ground(self) -> Acls<'static> {
        match self {
            Self::Open | Self::Contenders => Acls::anyone_all(),
            Self::Creator => Acls::creator_all(),
        }
    }
}

/// [`Access`] in use.
#[derive(Debug)]
pub(super) struct Approach {
    pub(super) access: Access,
    tunnels: Tunnels,
    /// Attempts that came second, on their way out.
    late: RefCell<JoinSet<()>>,
}

impl Approach {
    pub(super) fn new(access: &Access) -> Self {
        Self { access: access.clone(), tunnels: Tunnels::new(access.tls.clone()), late: RefCell::default() }
    }

    /// Lets somebody go who has come too late.
    pub(super) fn see_off(&self, late: impl Future<Output = ()> + Send + 'static) {
        self.late.borrow_mut().spawn(late);
    }

    /// Completes when all of them have gone.
    pub(super) async fn left_alone(&self) {
        let mut late = self.late.take();
        while late.join_next().await.is_some() {}
    }

    /// Where the client crate is to connect, to reach `ensemble`.
    ///
    /// # Errors
    /// When this host has no port or descriptor left.
    pub(super) fn entrance(&self, ensemble: &ConnectString) -> Result<ConnectString, BackendError> {
        match ensemble.transport {
            Transport::Plain => Ok(ensemble.clone()),
            Transport::Tls => self.tunnels.to(ensemble),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_a_user_and_a_password_and_are_not_shown() {
        let credentials = Credentials::parse("locker:p:w").expect("a colon in a password is fine");
        assert_eq!(credentials.reveal(), b"locker:p:w");
        assert_eq!(format!("{credentials:?}"), "Credentials(***)");
        for (text, why) in [
            ("locker", InvalidCredentials::NoColon),
            (":pw", InvalidCredentials::NoUser),
            ("locker:", InvalidCredentials::NoPassword),
        ] {
            assert_eq!(Credentials::parse(text).expect_err(text), why);
        }
    }
}
