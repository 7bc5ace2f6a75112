use super::*;
use crate::lock::{Holder, LockState, Mode, Phase, WaiterEntry};

fn held(key: &str, seconds: u64, lease: u64, waiters: usize) -> LockStatus {
    let holder = HolderEntry {
        id: String::new(),
        holder: Holder::default(),
        since: None,
        held_for: Some(Duration::from_secs(seconds)),
        ttl: None,
        remaining: Some(Duration::from_secs(lease)),
        phase: Phase::Running,
        fence: None,
    };
    let waiter = WaiterEntry {
        id: String::new(),
        holder: Holder::default(),
        since: None,
        waited_for: None,
        position: 1,
        mode: Mode::Exclusive,
    };
    LockStatus {
        state: LockState::Held(Mode::Exclusive),
        holders: vec![holder],
        waiters: vec![waiter; waiters],
        ..LockStatus::free(LockKey::new(key).expect("a key"))
    }
}

fn three() -> Vec<LockStatus> {
    vec![held("backup", 10, 20, 0), held("deploy/web", 90, 25, 1), held("deploy/db", 50, 5, 4)]
}

fn shown(state: &State) -> Vec<&str> {
    state.rows().iter().map(|status| status.key.as_str()).collect()
}

fn selected(state: &State) -> Option<&str> {
    state.selected().0.map(LockKey::as_str)
}

fn typed(state: &mut State, text: &str) {
    for letter in text.chars() {
        state.press(Key::Letter(letter));
    }
}

#[test]
fn s_goes_through_the_orders_and_comes_back_to_the_first() {
    let mut state = State::new(three());
    for (name, rows) in [
        ("key", ["backup", "deploy/db", "deploy/web"]),
        ("since", ["deploy/web", "deploy/db", "backup"]),
        ("waiters", ["deploy/db", "deploy/web", "backup"]),
        ("lease", ["deploy/db", "backup", "deploy/web"]),
        ("key", ["backup", "deploy/db", "deploy/web"]),
    ] {
        assert_eq!((state.order.name(), shown(&state)), (name, rows.to_vec()));
        state.press(Key::Letter('s'));
    }
}

#[test]
fn the_selection_stays_with_its_key_while_rows_move_come_and_go() {
    let mut state = State::new(three());
    state.press(Key::Down);
    assert_eq!(selected(&state), Some("deploy/db"));
    state.press(Key::Letter('s'));
    state.press(Key::Letter('s'));
    assert_eq!((selected(&state), state.position()), (Some("deploy/db"), 0));
    state.answered(vec![held("a", 1, 1, 9), held("deploy/db", 50, 5, 4)]);
    assert_eq!((selected(&state), state.position()), (Some("deploy/db"), 1));
    state.answered(vec![held("a", 1, 1, 9)]);
    assert_eq!((selected(&state), state.position()), (Some("a"), 0));
    state.answered(Vec::new());
    assert_eq!((selected(&state), state.position()), (None, 0));
    assert_eq!(state.press(Key::Enter), Step::Draw);
    assert_eq!(state.scene, Scene::Table, "there is nothing to inspect");
}

#[test]
fn the_selection_ends_at_both_ends() {
    let mut state = State::new(three());
    for (key, position) in [
        (Key::Up, 0),
        (Key::Letter('j'), 1),
        (Key::Last, 2),
        (Key::Down, 2),
        (Key::Letter('k'), 1),
        (Key::PageDown, 2),
        (Key::First, 0),
        (Key::Letter('G'), 2),
        (Key::Letter('g'), 0),
    ] {
        state.press(key);
        assert_eq!(state.position(), position, "{key:?}");
    }
}

#[test]
fn a_filter_is_part_of_a_key_or_a_glob_and_escape_takes_it_away() {
    let mut state = State::new(three());
    typed(&mut state, "/db");
    assert_eq!((state.scene, shown(&state)), (Scene::Filtering, vec!["deploy/db"]));
    state.press(Key::Enter);
    assert_eq!((state.scene, shown(&state)), (Scene::Table, vec!["deploy/db"]));
    typed(&mut state, "/");
    state.press(Key::Backspace);
    state.press(Key::Backspace);
    typed(&mut state, "deploy/*");
    assert_eq!(shown(&state), ["deploy/db", "deploy/web"]);
    state.press(Key::Escape);
    assert_eq!((state.scene, shown(&state).len()), (Scene::Table, 3));
    // Letters that are commands elsewhere are letters here, and half a glob is a text.
    typed(&mut state, "/qjs?[");
    assert_eq!((state.filter.as_str(), shown(&state).len()), ("qjs?[", 0));
    state.press(Key::Enter);
    state.press(Key::Escape);
    assert_eq!(shown(&state).len(), 3);
}

#[test]
fn an_inspected_key_stays_even_when_it_is_free_meanwhile() {
    let mut state = State::new(three());
    state.press(Key::Enter);
    state.press(Key::Down);
    assert_eq!(state.scene, Scene::Inspecting(1));
    state.answered(vec![held("other", 1, 1, 0)]);
    assert_eq!(selected(&state), Some("backup"));
    assert!(state.selected().1.is_none());
    assert_eq!(state.press(Key::Letter('q')), Step::Draw);
    assert_eq!((state.scene, selected(&state)), (Scene::Table, Some("other")));
}

#[test]
fn q_quits_and_any_key_leaves_the_help() {
    let mut state = State::new(three());
    state.press(Key::Letter('?'));
    assert_eq!(state.scene, Scene::Help);
    assert_eq!(state.press(Key::Letter('q')), Step::Draw);
    assert_eq!(state.scene, Scene::Table);
    assert_eq!(state.press(Key::Letter('q')), Step::Quit);
}

#[test]
fn the_rows_scroll_only_when_the_selection_would_leave_them() {
    let mut state = State::new((0..9).map(|number| held(&number.to_string(), 1, 1, 0)).collect());
    assert_eq!(state.visible(4), 0..4);
    for (key, visible) in [
        (Key::PageDown, 1..5),
        (Key::Up, 1..5),
        (Key::First, 0..4),
        (Key::Last, 5..9),
        (Key::Up, 5..9),
        (Key::PageUp, 3..7),
    ] {
        state.press(key);
        assert_eq!(state.visible(4), visible, "{key:?}");
    }
    assert_eq!(state.visible(20), 0..9, "a larger window");
    assert_eq!(state.visible(0).len(), 1, "there is always a row");
}

#[test]
fn a_lock_is_taken_back_only_after_a_yes_and_from_the_holder_that_was_shown() {
    let mut state = State::new(three());
    state.press(Key::Letter('x'));
    assert_eq!(state.scene, Scene::Asking);
    let asked: Vec<String> = state.taking.iter().flat_map(Taking::lines).collect();
    assert!(asked[0].starts_with("take \"backup\" back?"), "{asked:?}");
    assert!(asked.iter().any(|line| line.contains("command is stopped first")), "{asked:?}");
    for no in [Key::Letter('n'), Key::Enter, Key::Escape, Key::Letter('q')] {
        assert_eq!(state.press(no), Step::Draw);
        assert!(state.scene == Scene::Table && state.taking.is_none() && state.decided.is_none(), "{no:?}");
        state.press(Key::Letter('x'));
    }
    // Whoever has it by now is not the one that the question is about.
    let mut next = held("backup", 0, 9, 0);
    next.holders[0].id = "another".into();
    state.answered(vec![next]);
    assert_eq!(state.press(Key::Letter('y')), Step::TakeBack);
    let decided = state.decided.take().expect("a decision");
    assert_eq!((decided.key().as_str(), decided.holder().id.as_str()), ("backup", ""));
    assert_eq!(state.scene, Scene::Table);
}

#[test]
fn one_of_several_holders_is_chosen_and_nobody_is_asked_for_what_is_free() {
    let mut several = held("pool", 1, 1, 0);
    several.holders.push(several.holders[0].clone());
    several.holders[1].id = "second".into();
    let mut state = State::new(vec![several]);
    state.press(Key::Letter('x'));
    for key in [Key::Down, Key::Letter('j'), Key::Up, Key::Down] {
        state.press(key);
    }
    state.press(Key::Letter('y'));
    assert_eq!(state.decided.take().expect("a decision").holder().id, "second");

    let mut awaited = held("free", 1, 1, 1);
    awaited.holders.clear();
    let mut state = State::new(vec![awaited]);
    assert_eq!(state.press(Key::Letter('x')), Step::Draw);
    assert_eq!(state.scene, Scene::Table);
    assert!(state.word.as_deref().is_some_and(|word| word.contains("nobody holds")));
    state.press(Key::Down);
    assert_eq!(state.word, None);
}

#[test]
fn the_question_and_its_answers_fit_into_40_columns() {
    for phase in [Phase::Running, Phase::OneShot, Phase::HeldAtLeast, Phase::LockDelay, Phase::Revoked, Phase::Foreign]
    {
        let mut status = held("job", 1, 1, 0);
        status.holders[0].phase = phase;
        status.holders.push(status.holders[0].clone());
        let taking = Taking::from(&status).expect("somebody holds it");
        for line in taking.lines() {
            assert!(line.chars().count() <= 40, "{line}");
        }
    }
}
