use proptest::prelude::*;

use super::*;

fn server(port: u16) -> Server {
    Server { host: "10.0.0.1".into(), port }
}

fn peer(id: &str) -> Peer {
    Peer { id: id.into(), address: server(26379) }
}

/// `by` names the master at `port`, hears it, and knows these others.
fn says(by: &str, port: u16, others: &[&str]) -> Testimony {
    let others = others.iter().map(|id| peer(id)).collect();
    Testimony { by: by.into(), master: server(port), hears: true, quorum: 1, others }
}

fn master(before: &Electorate, answers: &[Testimony]) -> Option<u16> {
    before.after(answers).master(answers).map(|server| server.port)
}

#[test]
fn two_of_three_decide_and_one_does_not_however_many_were_named() {
    let (a, b) = (says("a", 1, &["b", "c"]), says("b", 1, &["a", "c"]));
    for named in [1, 2, 3] {
        assert_eq!(master(&Electorate::of(named), &[a.clone(), b.clone()]), Some(1));
        assert_eq!(master(&Electorate::of(named), std::slice::from_ref(&a)), None);
    }
}

#[test]
fn one_that_stands_alone_decides_alone() {
    assert_eq!(master(&Electorate::of(1), &[says("a", 1, &[])]), Some(1));
}

#[test]
fn whoever_is_asked_at_two_addresses_has_one_vote() {
    let a = says("a", 1, &["b", "c"]);
    assert_eq!(master(&Electorate::of(1), &[a.clone(), a]), None);
}

#[test]
fn two_that_name_different_masters_decide_nothing() {
    let answers = [says("a", 1, &["b", "c"]), says("b", 2, &["a", "c"])];
    let electorate = Electorate::of(3).after(&answers);
    assert_eq!(electorate.master(&answers), None);
    assert_eq!(electorate.doubt(&answers), Doubt::Split(vec![(server(1), 1), (server(2), 1)]));
}

#[test]
fn naming_a_master_that_is_not_heard_decides_nothing() {
    let mut answers = [says("a", 1, &["b", "c"]), says("b", 1, &["a", "c"])];
    answers[0].hears = false;
    let electorate = Electorate::of(3).after(&answers);
    assert_eq!(electorate.master(&answers), None);
    assert_eq!(electorate.doubt(&answers), Doubt::Unheard(server(1)));
}

#[test]
fn one_that_has_forgotten_the_others_is_still_one_of_three() {
    let all = [says("a", 1, &["b", "c"]), says("b", 1, &["a", "c"]), says("c", 1, &["a", "b"])];
    let known = Electorate::of(1).after(&all);
    let alone = [says("a", 1, &[])];
    assert_eq!(master(&known, &alone), None);
    // And stays so, however often it is asked.
    assert_eq!(master(&known.after(&alone).after(&alone), &alone), None);
    // A fresh dlock knows nobody, but that a quorum of two is not one.
    let quorum_of_two = [Testimony { quorum: 2, ..says("a", 1, &[]) }];
    assert_eq!(master(&Electorate::of(1), &quorum_of_two), None);
}

#[test]
fn whoever_a_majority_has_forgotten_is_not_counted_any_more() {
    let five = ["a", "b", "c", "d", "e"];
    let all = five.map(|by| says(by, 1, &five));
    let known = Electorate::of(1).after(&all);
    assert_eq!(known.size(), 5);
    let three = ["a", "b", "c"];
    let shrunk = known.after(&three.map(|by| says(by, 1, &three)));
    assert_eq!((shrunk.size(), shrunk.majority()), (3, 2));
    // One that still lists the others keeps them.
    assert_eq!(known.after(&[says("a", 1, &three), says("b", 1, &three), says("c", 1, &five)]).size(), 5);
}

#[test]
fn one_that_was_replaced_under_a_new_name_does_not_add_up() {
    let known = Electorate::of(3).after(&[says("a", 1, &["b", "c"]), says("b", 1, &["a", "c"])]);
    let answers = [says("a", 1, &["b", "d"]), says("b", 1, &["a", "d"]), says("d", 1, &["a", "b"])];
    let now = known.after(&answers);
    assert_eq!(now.size(), 3);
    assert!(now.knows("d") && !now.knows("c"));
}

#[test]
fn an_address_is_written_as_people_write_it() {
    assert_eq!(server(6379).to_string(), "10.0.0.1:6379");
    assert_eq!(Server { host: "::1".into(), port: 1 }.to_string(), "[::1]:1");
}

proptest! {
    /// Those who know each other never let two masters be named, whoever answers to whom.
    #[test]
    fn two_disjoint_groups_never_name_a_master_each(size in 1_usize..9, split in prop::collection::vec(0_u8..3, 9)) {
        let ids: Vec<String> = (0..size).map(|id| id.to_string()).collect();
        let all: Vec<&str> = ids.iter().map(String::as_str).collect();
        let group = |side: u8, port| -> Vec<Testimony> {
            ids.iter().zip(&split).filter(|(_, of)| **of == side).map(|(id, _)| says(id, port, &all)).collect()
        };
        let (left, right) = (group(0, 1), group(1, 2));
        let nobody = Electorate::of(1);
        prop_assert!(master(&nobody, &left).is_none() || master(&nobody, &right).is_none());
    }
}
