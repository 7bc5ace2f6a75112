//! From what Sentinels and the nodes of a Cluster say to what that means for a lock: nobody is asked here.

use std::collections::BTreeSet;

use crate::lock::Finding;

/// What the Sentinels of one service say.
#[derive(Debug)]
pub(in crate::backend::redis) struct PanelFacts {
    pub(in crate::backend::redis) service: String,
    pub(in crate::backend::redis) known: usize,
    /// The master that each names, and how many have to agree that it is down.
    pub(in crate::backend::redis) answers: Vec<(String, usize)>,
}

pub(in crate::backend::redis) fn judge_panel(panel: &PanelFacts) -> Vec<Finding> {
    let PanelFacts { service, known, answers } = panel;
    let (known, answered) = (*known, answers.len());
    let mut findings = Vec::new();
    let what = format!("{answered} of {known} Sentinels of \"{service}\" answer");
    findings.push(if answered <= known / 2 {
        let why = "a lock counts only while a majority of them names the master";
        Finding::failed("sentinels", what, why, "start the others, or open the way to them")
    } else if answered < known {
        let why = "one more that is missing may leave no majority, and no lock can be taken then";
        Finding::warning("sentinels", what, why, "start the others, or SENTINEL RESET what is gone for good")
    } else if known < 3 {
        let why = "of fewer than three none may fail";
        Finding::warning("sentinels", what, why, "run three or five, on different hosts")
    } else {
        Finding::ok("sentinels", what)
    });
    let masters: BTreeSet<&str> = answers.iter().map(|(master, _)| master.as_str()).collect();
    let masters: Vec<&str> = masters.into_iter().collect();
    findings.push(match &masters[..] {
        [master] => Finding::ok("agreement", format!("all that answer name {master} as the master")),
        several => Finding::failed(
            "agreement",
            format!("the Sentinels name different masters: {}", several.join(", ")),
            "a fail-over is under way, or some of them are cut off from the others",
            "ask again in a minute; if it lasts, see SENTINEL MASTER on each",
        ),
    });
    let quorum = answers.iter().map(|(_, quorum)| *quorum).max().unwrap_or_default();
    let what = format!("{quorum} of {known} Sentinels have to find the master down (quorum)");
    findings.push(if quorum > known {
        let why = "so many there are not: no fail-over ever happens";
        Finding::failed("quorum", what, why, "set the quorum to a majority of the Sentinels, on each of them")
    } else {
        Finding::ok("quorum", what)
    });
    findings
}

/// What a node of a Cluster says of it.
#[derive(Debug)]
pub(in crate::backend::redis) struct ClusterFacts {
    /// `None`: this user may not ask.
    pub(in crate::backend::redis) state: Option<String>,
    pub(in crate::backend::redis) slots: u64,
    /// Each master, and how many replicas it has.
    pub(in crate::backend::redis) masters: Vec<(String, usize)>,
}

const ALL_SLOTS: u64 = 16384;

pub(in crate::backend::redis) fn judge_cluster(cluster: &ClusterFacts) -> Vec<Finding> {
    let ClusterFacts { state, slots, masters } = cluster;
    let mut findings = Vec::new();
    let state = state.as_deref().unwrap_or("unknown");
    let what = format!("the Cluster is in state {state} and serves {slots} of {ALL_SLOTS} slots");
    findings.push(if *slots < ALL_SLOTS || state == "fail" {
        let why = "locks whose slots nobody serves can be neither taken nor renewed";
        Finding::failed("cluster", what, why, "see CLUSTER NODES, and bring back the nodes that are missing")
    } else {
        Finding::ok("cluster", what)
    });
    let what = format!("{} masters serve the slots", masters.len());
    findings.push(if masters.len() < 3 {
        let why = "a fail-over needs a majority of the masters, and of fewer than three none may fail";
        Finding::warning("masters", what, why, "run three masters or more")
    } else {
        Finding::ok("masters", what)
    });
    let bare: Vec<&str> = masters.iter().filter(|(_, count)| *count == 0).map(|(master, _)| master.as_str()).collect();
    findings.push(if bare.is_empty() {
        Finding::ok("cluster-replicas", "every master has a replica")
    } else {
        Finding::warning(
            "cluster-replicas",
            format!("masters without a replica: {}", bare.join(", ")),
            "when one of them fails, its locks can be neither taken nor renewed until it is back",
            "give each a replica on another host",
        )
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::Grade;

    #[test]
    fn sentinels_have_to_be_enough_and_of_one_mind() {
        let poll = |known, answers: &[(&str, usize)]| {
            let answers = answers.iter().map(|(master, quorum)| ((*master).to_owned(), *quorum)).collect();
            let found = judge_panel(&PanelFacts { service: "main".into(), known, answers });
            found.into_iter().map(|one| one.grade).collect::<Vec<_>>()
        };
        let (ok, warning, failed) = (Grade::Ok, Grade::Warning, Grade::Failed);
        assert_eq!(poll(3, &[("a:1", 2), ("a:1", 2), ("a:1", 2)]), [ok, ok, ok]);
        assert_eq!(poll(3, &[("a:1", 2), ("a:1", 2)]), [warning, ok, ok]);
        assert_eq!(poll(3, &[("a:1", 2)]), [failed, ok, ok]);
        assert_eq!(poll(1, &[("a:1", 2)]), [warning, ok, failed]);
        assert_eq!(poll(3, &[("a:1", 2), ("b:1", 2), ("a:1", 2)]), [ok, failed, ok]);
    }

    #[test]
    fn a_cluster_needs_all_slots_three_masters_and_their_replicas() {
        let judged = |state: &str, slots, replicas: &[usize]| {
            let masters = replicas.iter().enumerate().map(|(index, count)| (format!("m{index}:1"), *count)).collect();
            let found = judge_cluster(&ClusterFacts { state: Some(state.to_owned()), slots, masters });
            found.into_iter().map(|one| one.grade).collect::<Vec<_>>()
        };
        let (ok, warning, failed) = (Grade::Ok, Grade::Warning, Grade::Failed);
        assert_eq!(judged("ok", ALL_SLOTS, &[1, 1, 2]), [ok, ok, ok]);
        assert_eq!(judged("ok", ALL_SLOTS, &[1, 0, 2]), [ok, ok, warning]);
        assert_eq!(judged("fail", ALL_SLOTS - 1, &[1, 1]), [failed, warning, ok]);
    }
}
