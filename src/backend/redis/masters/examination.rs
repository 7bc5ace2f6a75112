//! What `doctor` finds about several masters: each by itself, and whether enough of them serve. What breaks it: a master
//! that cannot be asked, which is a finding as long as another can.

use futures_util::future::join_all;

use super::{MastersBackend, node_limit};
use crate::backend::redis::examination::{Demands, Station, examine_server, unreachable};
use crate::lock::{BackendError, Finding, Ttl};

impl MastersBackend {
    pub(super) async fn examined(&self, ttl: Ttl) -> Result<Vec<Finding>, BackendError> {
        let ttl = ttl.duration();
        let demands = Demands { ttl, request_limit: node_limit(ttl), station: Station::AmongMasters, wait_replicas: 0 };
        let each = self.nodes.iter().map(|node| examine_server(node, &self.namespace, &demands, None));
        let (mut findings, mut failures) = (Vec::new(), Vec::new());
        for outcome in join_all(each).await {
            match outcome {
                Ok(found) => findings.extend(found),
                Err(failure) => failures.push(failure.error),
            }
        }
        let (masters, served) = (self.nodes.len(), self.nodes.len() - failures.len());
        if served == 0
            && let Some(first) = failures.first()
        {
            return Err(first.clone());
        }
        findings.extend(failures.into_iter().map(unreachable));
        findings.insert(0, judge(masters, served, self.quorum.majority()));
        Ok(findings)
    }
}

fn judge(masters: usize, served: usize, majority: usize) -> Finding {
    let what = format!("{served} of {masters} independent masters serve, and {majority} have to grant a lock");
    if served < majority {
        let why = "no lock can be taken, and those that are held are lost";
        Finding::failed("majority", what, why, "bring the other masters back")
    } else if masters < 3 || masters.is_multiple_of(2) {
        let why = "such a number stands no more failures than one master less would";
        Finding::warning("majority", what, why, "name three or five")
    } else {
        Finding::ok("majority", what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::Grade;

    #[test]
    fn a_majority_has_to_serve_and_an_even_number_helps_nobody() {
        for (masters, served, majority, grade) in [
            (3, 3, 2, Grade::Ok),
            (5, 3, 3, Grade::Ok),
            (3, 1, 2, Grade::Failed),
            (2, 2, 2, Grade::Warning),
            (4, 4, 3, Grade::Warning),
        ] {
            assert_eq!(judge(masters, served, majority).grade, grade, "{served} of {masters}");
        }
    }
}
