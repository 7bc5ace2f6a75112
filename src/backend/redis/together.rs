//! Several locks at a stroke, where one server decides on all of them. What breaks it: a script that fails half-way, or is
//! answered by a server that does not decide any more; both leave some of the locks taken.

use super::contender::Contender;
use super::failure::Failure;
use super::names::Names;
use super::reply;
use super::script::{ACQUIRE_TOGETHER, eval};
use super::{RedisBackend, unexpected};
use crate::lock::{BackendError, Claim, FIRST_CONTACT, LockKey, Progress, Together};
use crate::sys::boottime::BootInstant;

impl RedisBackend {
    pub(super) async fn take_together(
        &self,
        claims: &[&Claim],
        progress: &dyn Fn(&LockKey, Progress),
    ) -> Result<Together, BackendError> {
        let contenders: Vec<Contender<'_>> = claims.iter().map(|claim| Contender::of(claim)).collect();
        // What is wrong with a name is told of it alone.
        let names: Result<Vec<Names>, BackendError> = claims.iter().map(|claim| self.names(&claim.key)).collect();
        let (Some(contender), Ok(names)) = (contenders.first(), names) else {
            return Ok(Together::Apart);
        };
        let in_all: Vec<String> = names.iter().flat_map(Names::all).collect();
        let lie_apart = self.route.admit(&in_all).is_err();
        if lie_apart || contenders.iter().any(|other| other.args() != contender.args()) {
            return Ok(Together::Apart);
        }
        let request = eval(ACQUIRE_TOGETHER, &in_all, &contender.args());
        let sent = BootInstant::now();
        let asked = self.route.ask(names[0].lock(), &request, FIRST_CONTACT);
        let reply = match self.on_its_way(claims, asked).await {
            Err(Failure { answered: true, .. }) => return Ok(Together::Unclear),
            outcome => outcome.map_err(|failure| failure.error)?,
        };
        let (now, fences) = match reply::together(&reply) {
            Some(Some((now, fences))) if fences.len() == claims.len() => (now, fences),
            Some(None) => return Ok(Together::Apart),
            _ => return Err(unexpected(&*self.route)),
        };
        let mut leases = Vec::with_capacity(claims.len());
        for ((claim, names), fence) in claims.iter().zip(&names).zip(fences) {
            let tell = |news| progress(&claim.key, news);
            leases.push(self.settled(claim, names, (sent, fence, now), &tell).await?);
        }
        self.confirm_replicas(&names[0], leases[0].ttl).await?;
        Ok(Together::Granted(leases))
    }
}
