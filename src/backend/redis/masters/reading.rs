//! `status` and `list` as a majority tells them, and where the others differ. What breaks it: taking one master's word.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::{Answers, MastersBackend};
use crate::backend::redis::endpoint::Endpoint;
use crate::backend::redis::failure::Failure;
use crate::backend::redis::node::Node;
use crate::backend::redis::reading;
use crate::lock::{BackendError, FIRST_CONTACT, HolderEntry, KeyPattern, LockKey, LockState, LockStatus, Mode};

impl MastersBackend {
    pub(super) async fn status_of(&self, key: &LockKey) -> Result<LockStatus, BackendError> {
        let ask = async |node: &Rc<Node>| reading::status(node, &self.namespace, key).await;
        let told = self.tell_all(ask).await?;
        let told: Vec<_> = told.iter().map(|(master, status)| (*master, Some(status))).collect();
        Ok(self.merged(key, &told))
    }

    pub(super) async fn listed(&self, pattern: &KeyPattern) -> Result<Vec<LockStatus>, BackendError> {
        let ask = async |node: &Rc<Node>| reading::list(node, &self.namespace, pattern).await;
        let told = self.tell_all(ask).await?;
        let keys: BTreeSet<&LockKey> = told.iter().flat_map(|(_, list)| list).map(|status| &status.key).collect();
        let of = |key: &LockKey| -> Vec<_> {
            told.iter().map(|(master, list)| (*master, list.iter().find(|status| status.key == *key))).collect()
        };
        Ok(keys.into_iter().map(|key| self.merged(key, &of(key))).collect())
    }

    /// What every master says that answers; a majority has to.
    async fn tell_all<T>(
        &self,
        read: impl AsyncFn(&Rc<Node>) -> Result<T, BackendError>,
    ) -> Result<Vec<(usize, T)>, BackendError> {
        let ask = async |master: usize| read(&self.nodes[master]).await.map_err(Failure::unanswered);
        let decided = |answers: &Answers<T>| {
            answers.iter().filter(|(_, answer)| answer.is_ok()).count() >= self.quorum.majority()
        };
        let answers = self.ask_all(self.everyone(), FIRST_CONTACT, &ask, decided).await;
        if !decided(&answers) {
            return Err(self.too_few(answers.len(), answers.into_iter().filter_map(|(_, answer)| answer.err())));
        }
        Ok(answers.into_iter().filter_map(|(master, answer)| Some((master, answer.ok()?))).collect())
    }

    /// One key as a majority tells it. A holder that the silent masters might make a majority for is shown, too.
    fn merged(&self, key: &LockKey, told: &[(usize, Option<&LockStatus>)]) -> LockStatus {
        let silent = self.nodes.len() - told.len();
        let mut votes: BTreeMap<&str, Vec<(usize, Mode, &HolderEntry)>> = BTreeMap::new();
        for (master, status) in told {
            let Some(status) = status else { continue };
            let LockState::Held(mode) = status.state else { continue };
            for holder in &status.holders {
                votes.entry(&holder.id).or_default().push((*master, mode, holder));
            }
        }
        let mut merged = LockStatus::free(key.clone());
        let majority = self.quorum.majority();
        let name = |master: usize| self.nodes[master].endpoint().masked();
        let most = votes.values().max_by_key(|votes| votes.len()).filter(|votes| votes.len() + silent >= majority);
        if let Some(votes) = most {
            let (_, mode, first) = votes[0];
            let mut left: Vec<_> = votes.iter().map(|(_, _, holder)| holder.remaining).collect();
            // Longest first: it is held for as long as a majority keeps it.
            left.sort_by_key(|left| std::cmp::Reverse(left.unwrap_or(std::time::Duration::MAX)));
            merged.state = LockState::Held(mode);
            merged.fence = votes.iter().filter_map(|(_, _, holder)| holder.fence).max();
            let remaining = left.get(majority - 1).or(left.last()).copied().flatten();
            merged.holders.push(HolderEntry { remaining, fence: merged.fence, ..first.clone() });
        }
        let held_by = merged.holders.first().map(|holder| holder.id.clone());
        for (master, status) in told {
            let said = status.and_then(|status| status.holders.first()).map(|holder| holder.id.as_str());
            if said != held_by.as_deref() {
                let said = said.map_or("it is free".to_owned(), |id| format!("{id} holds it"));
                merged.differences.push(format!("{} says that {said}", name(*master)));
            }
        }
        let answered: Vec<usize> = told.iter().map(|(master, _)| *master).collect();
        for master in self.everyone().filter(|master| !answered.contains(master)) {
            merged.differences.push(format!("{} does not answer", name(master)));
        }
        merged
    }
}

impl Endpoint {
    /// The server alone, without user, password and database: what tells two masters apart.
    #[must_use]
    pub fn server(&self) -> String {
        let url = self.without_password();
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        if rest.starts_with('/') {
            return rest.split('?').next().unwrap_or(rest).to_owned();
        }
        let address = rest.rsplit_once('@').map_or(rest, |(_, address)| address);
        address.split('/').next().unwrap_or(address).to_ascii_lowercase()
    }
}
