use proptest::prelude::*;

use super::*;

const VOTES: [Vote; 3] = [Vote::Granted, Vote::Refused, Vote::Silent];

/// Every combination of answers of so many masters.
fn ballots(masters: usize) -> impl Iterator<Item = Vec<Vote>> {
    let combinations = 3_usize.pow(u32::try_from(masters).expect("a few"));
    (0..combinations).map(move |number| {
        let mut rest = number;
        let mut ballot = Vec::new();
        for _ in 0..masters {
            ballot.push(VOTES[rest % 3]);
            rest /= 3;
        }
        ballot
    })
}

fn count(ballot: &[Vote], vote: Vote) -> usize {
    ballot.iter().filter(|given| **given == vote).count()
}

/// Goes through an attempt; its end, and whom it asked in which order.
fn attempted(ballot: &[Vote], silent: impl Fn(usize) -> bool) -> (Step, Vec<usize>, Attempt) {
    let mut attempt = Attempt::new(Quorum::of(ballot.len()), silent);
    let mut asked = Vec::new();
    loop {
        match attempt.next() {
            Step::Ask(masters) => {
                assert!(!masters.is_empty() && asked.len() < ballot.len(), "asks on for ever");
                for master in masters {
                    assert!(!asked.contains(&master), "asked twice");
                    asked.push(master);
                    attempt.record(master, ballot[master]);
                }
            }
            end => return (end, asked, attempt),
        }
    }
}

#[test]
fn two_majorities_always_share_a_master_and_one_never_needs_all_of_three_or_more() {
    for masters in 1..=7 {
        let majority = Quorum::of(masters).majority();
        assert!(2 * majority > masters, "{masters}");
        assert!(majority <= masters && (masters < 3 || majority < masters), "{masters}");
    }
}

#[test]
fn every_combination_of_votes_ends_as_it_must() {
    for masters in 1..=7 {
        let majority = Quorum::of(masters).majority();
        for ballot in ballots(masters) {
            for first_silent in [masters, 0] {
                let (end, asked, attempt) = attempted(&ballot, |master| master == first_silent);
                let heard: Vec<Vote> = asked.iter().map(|master| ballot[*master]).collect();
                let told = format!("{ballot:?} asked {asked:?}: {end:?}");
                match end {
                    Step::Won => {
                        assert!(count(&heard, Vote::Granted) >= majority, "{told}");
                        assert_eq!(asked.len(), masters, "all that can will keep others out: {told}");
                        assert_eq!(attempt.granted().len(), count(&ballot, Vote::Granted), "{told}");
                    }
                    Step::Refused => {
                        assert_eq!(heard.last(), Some(&Vote::Refused), "the first refusal ends it: {told}");
                        assert_eq!(count(&heard, Vote::Refused), 1, "{told}");
                        assert!(count(&heard, Vote::Granted) < majority, "{told}");
                    }
                    Step::Unreachable => {
                        assert_eq!(count(&heard, Vote::Refused), 0, "{told}");
                        assert!(masters - count(&heard, Vote::Silent) < majority, "{told}");
                    }
                    Step::Ask(_) => unreachable!("asking is no end"),
                }
                let left: Vec<usize> =
                    (0..masters).filter(|m| asked.contains(m) && ballot[*m] != Vote::Refused).collect();
                assert_eq!(attempt.touched(), left, "everything that may be there is undone: {told}");
            }
        }
    }
}

#[test]
fn with_nobody_in_the_way_a_majority_that_answers_is_enough() {
    for masters in 1..=7 {
        for ballot in ballots(masters).filter(|ballot| count(ballot, Vote::Refused) == 0) {
            let (end, ..) = attempted(&ballot, |_| false);
            let enough = count(&ballot, Vote::Granted) >= Quorum::of(masters).majority();
            assert_eq!(end == Step::Won, enough, "{ballot:?}");
        }
    }
}

#[test]
fn a_renewal_is_ours_not_ours_or_unknown_and_never_two_of_them() {
    for masters in 1..=7 {
        let quorum = Quorum::of(masters);
        for ballot in ballots(masters) {
            let (ours, not_ours) = (count(&ballot, Vote::Granted), count(&ballot, Vote::Refused));
            let verdict = quorum.verdict(ours, not_ours);
            let silent = masters - ours - not_ours;
            assert_eq!(verdict == Verdict::Ours, ours >= quorum.majority(), "{ballot:?}");
            assert_eq!(verdict == Verdict::NotOurs, ours + silent < quorum.majority(), "{ballot:?}");
        }
    }
}

#[test]
fn a_lease_is_believed_for_as_long_as_a_majority_keeps_it() {
    let at = BootInstant::from_nanos;
    for masters in 1..=7_usize {
        let quorum = Quorum::of(masters);
        for known in 0..=masters {
            let deadlines: Vec<BootInstant> = (0..known).map(|n| at(1_000 + (n as u64 * 37) % 100)).collect();
            let until = quorum.valid_until(deadlines.clone());
            assert_eq!(until.is_some(), known >= quorum.majority());
            let Some(until) = until else { continue };
            let kept = |instant| deadlines.iter().filter(|deadline| **deadline >= instant).count();
            assert!(kept(until) >= quorum.majority(), "a majority still has it then");
            assert!(kept(until + std::time::Duration::from_nanos(1)) < quorum.majority(), "and not any longer");
        }
    }
}

#[test]
fn every_contender_asks_in_the_same_order_however_it_was_told_of_the_masters() {
    let names = ["r1:6379", "r2:6379", "r3:6379", "r4:6379", "r5:6379"];
    let order = agreed_order(names.to_vec(), ToString::to_string);
    let mut turned = names.to_vec();
    for _ in 0..names.len() {
        turned.rotate_left(1);
        assert_eq!(agreed_order(turned.clone(), ToString::to_string), order);
    }
}

proptest! {
    /// Contenders whose requests arrive in any order whatever: one of them wins.
    #[test]
    fn no_vote_is_split(
        masters in 1_usize..=7, down in 0_usize..=7, turns in proptest::collection::vec(0_usize..5, 0..100),
    ) {
        let quorum = Quorum::of(masters);
        prop_assume!(masters - down.min(masters) >= quorum.majority());
        let mut attempts: Vec<Attempt> = (0..5).map(|_| Attempt::new(quorum, |_| false)).collect();
        let mut holders: Vec<Option<usize>> = vec![None; masters];
        let to_the_end = (0..5).cycle().take(5 * (masters + 1));
        for contender in turns.into_iter().chain(to_the_end) {
            let Step::Ask(asked) = attempts[contender].next() else { continue };
            for master in asked {
                let vote = match holders[master] {
                    _ if master < down => Vote::Silent,
                    Some(holder) if holder != contender => Vote::Refused,
                    _ => {
                        holders[master] = Some(contender);
                        Vote::Granted
                    }
                };
                attempts[contender].record(master, vote);
            }
        }
        let won = attempts.iter().filter(|attempt| attempt.next() == Step::Won).count();
        let refused = attempts.iter().filter(|attempt| attempt.next() == Step::Refused).count();
        prop_assert_eq!((won, refused), (1, 4));
    }

    /// Holders one after the other, each on its own majorities: rule 26 with forgotten leases, late and lost requests.
    #[test]
    fn fences_rise_whichever_majorities_grant(
        masters in 1_usize..=7,
        history in proptest::collection::vec((proptest::collection::vec(any::<bool>(), 7),
            proptest::collection::vec(any::<bool>(), 7)), 1..20),
    ) {
        let quorum = Quorum::of(masters);
        let mut recorded = vec![0_u64; masters];
        let mut last = 0;
        for (granting, recording) in history {
            let granted: Vec<usize> = (0..masters).filter(|master| granting[*master]).collect();
            if granted.len() < quorum.majority() {
                continue;
            }
            let fence = next_fence(granted.iter().map(|master| recorded[*master]));
            let kept: Vec<usize> = granted.into_iter().filter(|master| recording[*master]).collect();
            for master in &kept {
                recorded[*master] = recorded[*master].max(fence);
            }
            if kept.len() >= quorum.majority() {
                prop_assert!(fence > last, "{} after {}", fence, last);
                last = fence;
            }
        }
    }
}
