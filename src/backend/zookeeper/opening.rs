//! One attempt to open a session. What breaks it: a session that comes about when nobody waits for it any more.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use zookeeper_client::{Client, Error};

use super::access::Approach;
use super::endpoint::ConnectString;
use crate::lock::BackendError;

/// Closes the session, the last handle of which this is, and completes when that is done.
pub(super) async fn closed(client: Client) {
    let mut states = client.state_watcher();
    // A terminal state is told once; waiting for it after that would take for ever.
    if client.state().is_terminated() {
        return;
    }
    drop(client);
    while !states.changed().await.is_terminated() {}
}

type Connecting = Pin<Box<dyn Future<Output = Result<Client, Error>> + Send>>;

/// One attempt to open a session; it may be asked for its outcome again and again.
pub(super) struct Attempt {
    running: Option<Connecting>,
    denied: bool,
}

impl Attempt {
    pub(super) fn new(
        ensemble: &ConnectString,
        approach: &Approach,
        timeout: Duration,
        silence: Duration,
    ) -> Result<Self, BackendError> {
        let connect_string = approach.entrance(ensemble)?.to_string();
        let mut connector =
            Client::connector().with_session_timeout(timeout).with_connection_timeout(silence).with_fail_eagerly();
        if let Some(credentials) = &approach.access.credentials {
            connector = connector.with_auth("digest", credentials.reveal());
        }
        let connecting = async move { connector.connect(&connect_string).await };
        Ok(Self { running: Some(Box::pin(connecting)), denied: false })
    }

    /// The session, or `None` once the attempt has failed.
    pub(super) async fn outcome(&mut self) -> Option<Client> {
        let outcome = self.running.as_mut()?.await;
        self.running = None;
        self.denied = matches!(outcome, Err(Error::AuthFailed));
        outcome.ok()
    }

    /// The session; a failed attempt never completes.
    pub(super) async fn success(&mut self) -> Client {
        match self.outcome().await {
            Some(client) => client,
            None => std::future::pending().await,
        }
    }

    /// Completes when the session that nobody needs any more, should it come about, has been closed again.
    pub(super) async fn gone(mut self) {
        if let Some(client) = self.outcome().await {
            closed(client).await;
        }
    }

    pub(super) fn was_denied(&self) -> bool {
        self.denied
    }
}

/// How long a server may be silent before the client crate leaves it. The crate looks every eighth of this time, so
/// 2/9 of the session timeout makes a quarter at the latest, and leaves 5/12 of it to reach another server
/// before the lease can no longer be believed. (It also sends its pings 8/3 times as often.)
pub(super) fn silence_of(timeout: Duration) -> Duration {
    timeout * 2 / 9
}
