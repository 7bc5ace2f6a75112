//! One server and the connection to it. What breaks it: a reply that arrives after its request was given up and is
//! taken for another's; a server that accepts and never answers.

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, RedisError, Value};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, timeout_at};

use super::dial::{dial, speaks_tls};
use super::ear::{Ear, Manner, NoEar};
use super::endpoint::Endpoint;
use super::failure::{Failure, lacks_command, seconds};
use super::reply::services_of_sentinel;
use super::stream::Refusal;
use crate::backend::tls::Tls;
use crate::lock::BackendError;

/// Makes what is sent in the place of a request that may have been carried out already; hardly ever needed.
pub(super) type Again<'a> = &'a dyn Fn() -> Cmd;

/// A Redis server, connected to on the first request and again whenever the connection has failed.
pub(super) struct Node {
    endpoint: Endpoint,
    tls: Tls,
    link: RefCell<Option<Rc<Link>>>,
    /// Whether this server wants to have answered AUTH before it reads a long request.
    greets_apart: Cell<bool>,
    /// Whether it has ever answered as a Redis server does.
    is_known: Cell<bool>,
    /// Whether the next answer may go out behind what others are told.
    gives_way: Cell<bool>,
}

struct Link {
    connection: MultiplexedConnection,
    driver: RefCell<Option<JoinHandle<()>>>,
    /// Whether the user, password and database have been sent.
    greeted: Cell<bool>,
    refusal: Refusal,
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.borrow_mut().take() {
            driver.abort();
        }
    }
}

/// Discards a connection on which a request was given up, and with it the late reply.
struct InFlight<'a> {
    node: &'a Node,
    link: &'a Rc<Link>,
    answered: bool,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.node.discard(self.link);
        }
    }
}

impl Node {
    pub(super) fn new(endpoint: Endpoint, tls: Tls) -> Self {
        Self {
            endpoint,
            tls,
            link: RefCell::default(),
            greets_apart: Cell::default(),
            is_known: Cell::default(),
            gives_way: Cell::default(),
        }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether there is a connection that was not found to have ended.
    pub(super) fn is_linked(&self) -> bool {
        self.link.borrow().is_some()
    }

    /// What the next request tells others, by PUBLISH, is to go out before its own answer.
    ///
    /// Redis writes last to whoever it has had an answer for first. So it is asked something that does not matter in the same
    /// packet: its own answer would come first otherwise, and on the same host whoever is woken by it has the processor
    /// until it has ended.
    pub(super) fn give_way(&self) {
        self.gives_way.set(true);
    }

    /// Sends `request` once and waits for its reply, `limit` in all, a connection that is made for it included.
    pub(super) async fn ask(&self, request: &Cmd, limit: Duration) -> Result<Value, Failure> {
        self.ask_behind(None, request, limit).await
    }

    /// The same right behind `before`, which nothing comes between.
    pub(super) async fn ask_behind(
        &self,
        before: Option<&Cmd>,
        request: &Cmd,
        limit: Duration,
    ) -> Result<Value, Failure> {
        let deadline = Instant::now() + limit;
        let link = self.linked(deadline, limit).await?;
        match self.exchange(&link, before, request, deadline, limit).await {
            // It was refused before it was read whole, so it is still asked only once.
            Err(failure) if failure.came_too_early && !self.greets_apart.replace(true) => {
                let link = self.linked(deadline, limit).await?;
                self.exchange(&link, before, request, deadline, limit).await
            }
            outcome => outcome,
        }
    }

    /// Like [`Node::ask`], for requests that may be carried out twice: a connection that turns out to have ended while
    /// nothing was asked (a server restarted since) is replaced at once, and `again` is sent.
    pub(super) async fn ask_twice(&self, request: &Cmd, again: Again<'_>, limit: Duration) -> Result<Value, Failure> {
        let deadline = Instant::now() + limit;
        let stood_before = self.is_linked();
        let link = self.linked(deadline, limit).await?;
        match self.exchange(&link, None, request, deadline, limit).await {
            Err(failure)
                if (stood_before && !failure.answered && Instant::now() < deadline)
                    || (failure.came_too_early && !self.greets_apart.replace(true)) =>
            {
                let link = self.linked(deadline, limit).await?;
                self.exchange(&link, None, &again(), deadline, limit).await
            }
            outcome => outcome,
        }
    }

    /// Connects, unless there is a connection.
    pub(super) async fn reach(&self, limit: Duration) -> Result<(), Failure> {
        self.linked(Instant::now() + limit, limit).await.map(drop)
    }

    /// Sends all of `requests` at once and waits for their replies, each of which may be an error.
    pub(super) async fn ask_together(&self, requests: &[Cmd], limit: Duration) -> Result<Vec<Value>, Failure> {
        let deadline = Instant::now() + limit;
        let link = self.linked(deadline, limit).await?;
        let mut in_flight = InFlight { node: self, link: &link, answered: false };
        let Ok(replies) = timeout_at(deadline, self.send_together(&link, requests)).await else {
            return Err(self.silent(limit));
        };
        match replies {
            Ok(replies) => {
                in_flight.answered = true;
                Ok(replies)
            }
            Err(error) => Err(self.explained(Failure::of(&self.endpoint, &error), &link.refusal, deadline).await),
        }
    }

    /// Listens to `channel` on a connection of its own, in the first of `manners` that the server knows. When this
    /// returns, the subscription is confirmed, or has to be done without.
    pub(super) async fn listen(&self, channel: &str, manners: &[Manner], limit: Duration) -> Result<Ear, Failure> {
        let deadline = Instant::now() + limit;
        let stream = dial(&self.endpoint, &self.tls, deadline, limit).await?;
        let refusal = stream.refusal();
        match timeout_at(deadline - limit / 2, Ear::open(stream, &self.endpoint, channel, manners)).await {
            Ok(Ok(ear)) => Ok(ear),
            Ok(Err(NoEar::Refused(error))) => Err(Failure::of(&self.endpoint, &error)),
            Ok(Err(NoEar::Stranger)) => Err(Failure::stranger(&self.endpoint)),
            Ok(Err(NoEar::Lost(error))) if refusal.get().is_some() => {
                let failure = Failure::of(&self.endpoint, &RedisError::from(error));
                Err(self.explained(failure, &refusal, deadline).await)
            }
            // A proxy without pub/sub hangs up or says nothing, and serves everything else. Whether the server itself is
            // away, the request that follows will tell.
            Ok(Err(NoEar::Lost(_))) | Err(_) => Ok(Ear::Polls),
        }
    }

    /// Closes the connection, as soon as the event loop goes on or this process ends.
    pub(super) fn close(&self) {
        self.link.take();
    }

    fn discard(&self, link: &Rc<Link>) {
        let mut current = self.link.borrow_mut();
        if current.as_ref().is_some_and(|current| Rc::ptr_eq(current, link)) {
            *current = None;
        }
        if let Some(driver) = link.driver.borrow_mut().take() {
            driver.abort();
        }
    }

    async fn linked(&self, deadline: Instant, limit: Duration) -> Result<Rc<Link>, Failure> {
        if let Some(link) = self.link.borrow().as_ref() {
            return Ok(link.clone());
        }
        let stream = dial(&self.endpoint, &self.tls, deadline, limit).await?;
        let refusal = stream.refusal();
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        // RESP2 without user, password or database: nothing is sent yet. They go out with the first request.
        let silent = RedisConnectionInfo::default().set_skip_set_lib_name();
        let (connection, driver) = MultiplexedConnection::new_with_config(&silent, stream, config)
            .await
            .map_err(|error| Failure::of(&self.endpoint, &error))?;
        let link = Rc::new(Link::driven(connection, driver, refusal));
        *self.link.borrow_mut() = Some(link.clone());
        Ok(link)
    }

    async fn exchange(
        &self,
        link: &Rc<Link>,
        before: Option<&Cmd>,
        request: &Cmd,
        deadline: Instant,
        limit: Duration,
    ) -> Result<Value, Failure> {
        let mut in_flight = InFlight { node: self, link, answered: false };
        let (replied, ()) = join(timeout_at(deadline, self.send(link, before, request)), self.learn_to_read()).await;
        let Ok(reply) = replied else {
            return Err(self.silent(limit));
        };
        match reply.and_then(Value::extract_error) {
            Ok(value) => {
                in_flight.answered = true;
                self.is_known.set(true);
                Ok(value)
            }
            Err(error) => {
                let mut failure = self.explained(Failure::of(&self.endpoint, &error), &link.refusal, deadline).await;
                if lacks_command(&error)
                    && let Some(services) = self.services_of_sentinel(link, deadline).await
                {
                    failure.error = self.is_sentinel(&services);
                }
                // A user that was refused is refused for as long as the connection lives; a changed password is not.
                in_flight.answered = failure.answered && (failure.error.may_pass() || failure.referral.is_some());
                Err(failure)
            }
        }
    }

    /// Before the first reply: the crate's reader asks the processor what it can do, for which a virtual machine takes
    /// as long as a server for a script. To be polled beside a request, which is sent first.
    async fn learn_to_read(&self) {
        if !self.is_known.get() {
            yield_now().await;
            black_box(memchr::memchr(b'\r', b"\r\n"));
        }
    }

    /// Says more of a connection that ended without an answer, where more can be known.
    async fn explained(&self, failure: Failure, refusal: &Refusal, deadline: Instant) -> Failure {
        if failure.answered {
            self.is_known.set(true);
            return failure;
        }
        if let Some((kind, words)) = refusal.get() {
            let text = format!("{} {words}", self.endpoint.masked());
            return Failure::unanswered(BackendError::new(*kind, text));
        }
        if !self.is_known.get() && speaks_tls(&self.endpoint, deadline).await {
            return Failure::unanswered(BackendError::misconfigured(format!(
                "{} speaks TLS; write rediss instead of redis in its URL",
                self.endpoint.masked()
            )));
        }
        failure
    }

    /// What it watches over, where a Sentinel was taken for a server.
    async fn services_of_sentinel(&self, link: &Link, deadline: Instant) -> Option<Vec<String>> {
        let mut connection = link.connection.clone();
        let role = redis::cmd("ROLE");
        let answer = timeout_at(deadline, connection.send_packed_command(&role)).await;
        services_of_sentinel(&answer.ok()?.ok()?)
    }

    fn is_sentinel(&self, services: &[String]) -> BackendError {
        let url = self.endpoint.masked();
        let service = services.first().map_or("SERVICE", String::as_str);
        BackendError::misconfigured(format!("{url} is a Sentinel; write redis-sentinel://HOST:PORT/{service}"))
    }

    async fn send_together(&self, link: &Link, requests: &[Cmd]) -> Result<Vec<Value>, RedisError> {
        let mut connection = link.connection.clone();
        let mut together = redis::pipe();
        let greetings = usize::from(self.endpoint.password.is_some());
        if let Some(password) = &self.endpoint.password {
            together.cmd("AUTH").arg(self.endpoint.user.as_deref()).arg(password.reveal());
        }
        for request in requests {
            together.add_command(request.clone());
        }
        let mut replies = connection.send_packed_commands(&together, 0, together.len()).await?;
        let answers = replies.split_off(greetings);
        greeted(replies)?;
        Ok(answers)
    }

    async fn send(&self, link: &Link, before: Option<&Cmd>, request: &Cmd) -> Result<Value, RedisError> {
        let mut connection = link.connection.clone();
        let Endpoint { user, password, db, .. } = &self.endpoint;
        let mut together = redis::pipe();
        if (password.is_some() || *db != 0) && !link.greeted.replace(true) {
            if let Some(password) = password {
                together.cmd("AUTH");
                if let Some(user) = user {
                    together.arg(user);
                }
                together.arg(password.reveal());
            }
            // A request must not be carried out in another database when SELECT fails, so it waits for its answer.
            // Behind a failed AUTH it is refused as well, or allowed to everybody and undone by its release.
            if *db != 0 {
                together.cmd("SELECT").arg(*db);
            }
            if *db != 0 || self.greets_apart.get() {
                greeted(connection.send_packed_commands(&together, 0, together.len()).await?)?;
                together.clear();
            }
        }
        if let Some(before) = before {
            together.add_command(before.clone());
        }
        let gives_way = self.gives_way.take() && before.is_none();
        if gives_way {
            together.cmd("TIME");
        }
        // Alone where it can be: the crate tells what is no Redis reply only to a single request.
        if together.is_empty() {
            return connection.send_packed_command(request).await;
        }
        together.add_command(request.clone());
        let mut replies = connection.send_packed_commands(&together, 0, together.len()).await?;
        let reply = replies.pop().unwrap_or_default();
        if gives_way {
            // Whatever it says: a proxy may not know it.
            replies.pop();
        }
        greeted(replies)?;
        Ok(reply)
    }

    fn silent(&self, limit: Duration) -> Failure {
        Failure::unanswered(BackendError::unavailable(format!(
            "{} does not answer within {}; it may be frozen, overloaded or no Redis server",
            self.endpoint.masked(),
            seconds(limit)
        )))
    }
}

impl Link {
    fn driven(
        connection: MultiplexedConnection,
        driver: impl Future<Output = ()> + Send + 'static,
        refusal: Refusal,
    ) -> Self {
        let driver = RefCell::new(Some(tokio::spawn(driver)));
        Self { connection, driver, greeted: Cell::new(false), refusal }
    }
}

fn greeted(replies: Vec<Value>) -> Result<(), RedisError> {
    for reply in replies {
        match reply.extract_error() {
            // A password where none is asked for hurts nobody.
            Err(error) if error.detail().is_some_and(|text| text.contains("without any password")) => {}
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    Ok(())
}
