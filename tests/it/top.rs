//! `dlock top`: what an operator sees, and that the terminal is as it was afterwards.

use nix::sys::signal::Signal;

use crate::support::*;

const ENTERS: &str = "\x1b[?1049h";
const LEAVES: &str = "\x1b[?1049l";

fn top_with(place: &Place, words: &[&str]) -> Terminal {
    let options = place.options();
    let program = [program(), "top"];
    let args: Vec<&str> =
        program.into_iter().chain(options.iter().map(String::as_str)).chain(words.iter().copied()).collect();
    Terminal::start(&args, |call| call.env("TERM", "xterm"))
}

fn top(place: &Place) -> Terminal {
    let terminal = top_with(place, &[]);
    terminal.shows(ENTERS);
    terminal
}

#[track_caller]
fn assert_was_left_alone(terminal: &Terminal, modes: &nix::sys::termios::Termios) {
    // What was written last may still be on its way through the terminal.
    eventually("the window is given back", || {
        let shown = terminal.everything();
        shown.rfind(LEAVES) > shown.rfind(ENTERS)
    });
    eventually("the cursor is shown again", || {
        let shown = terminal.everything();
        shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l")
    });
    assert_eq!(&terminal.modes(), modes);
}

sentences_for_every_backend![a_change_appears_by_itself, x_asks_the_holder_for_the_lock];

fn a_change_appears_by_itself(place: &Place) {
    let terminal = top(place);
    terminal.shows("nothing is held or awaited");
    let _holder = place.hold("job");
    terminal.shows("> job  held   exclusive");
    terminal.types("q");
    terminal.session.wait().succeeds();
}

fn x_asks_the_holder_for_the_lock(place: &Place) {
    let holder = place.hold_for("job", "6s");
    let terminal = top(place);
    terminal.shows("> job");
    terminal.types("xy");
    terminal.shows("asked, its command is being stopped");
    holder.wait().exits_with(79);
    terminal.shows("nothing is held or awaited");
    terminal.types("q");
    terminal.session.wait().succeeds();
}

#[test]
fn keys_move_sort_filter_inspect_and_help() {
    let place = Place::shared(Kind::Redis);
    let _holders = [place.hold("alpha"), place.hold("beta")];
    let _waiter = place.queue_up("beta");
    let terminal = top(&place);
    terminal.shows("> alpha");
    terminal.types("j");
    terminal.shows("> beta");
    terminal.types("\x1b[A");
    terminal.shows("> alpha");
    terminal.types("s");
    terminal.shows("sort since");
    terminal.types("s");
    terminal.shows("sort waiters");
    terminal.types("/bet");
    terminal.shows("filter: bet_");
    terminal.types("\r");
    terminal.shows("1 of 2 keys");
    terminal.types("\r");
    terminal.shows("key      beta");
    terminal.shows("waiter   1 ");
    terminal.types(ESCAPE);
    terminal.shows("> beta");
    terminal.types(ESCAPE);
    terminal.shows("2 keys  sort waiters");
    terminal.types("?");
    terminal.shows("any key goes back");
    terminal.types("q");
    terminal.shows("> beta");
    terminal.types("q");
    terminal.session.wait().succeeds();
}

#[test]
fn whatever_ends_it_leaves_the_terminal_as_it_was() {
    let place = Place::shared(Kind::Redis);
    let end = |how: &dyn Fn(&Terminal)| {
        // The modes that a new terminal has.
        let terminal = top(&place);
        let modes = nix::sys::termios::tcgetattr(Pty::open().programs).expect("it is a terminal");
        terminal.shows("nothing is held");
        assert_ne!(terminal.modes(), modes, "keys arrive one by one");
        how(&terminal);
        let finished = terminal.session.wait();
        assert_was_left_alone(&terminal, &modes);
        finished
    };
    end(&|terminal| terminal.types("q")).succeeds();
    end(&|terminal| terminal.types(CTRL_C)).dies_of(Signal::SIGINT);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        end(&|terminal| terminal.session.signal(signal)).dies_of(signal);
    }
}

#[test]
fn a_server_that_crashes_and_returns_leaves_the_last_view_with_a_word_about_it() {
    let place = Place::private(Kind::Redis);
    let _token = place.acquire("job", "10m");
    let terminal = top(&place);
    terminal.shows("> job");
    place.server().crash();
    terminal.shows("no answer, this was the last: cannot list");
    terminal.shows("> job");
    place.server().start_again();
    terminal.shows("1 key ");
    terminal.types("q");
    terminal.session.wait().succeeds();
}

#[test]
fn a_window_of_40_columns_shows_who_holds_what_and_no_line_is_longer() {
    let place = Place::shared(Kind::Redis);
    let _holder = place.hold("job");
    let terminal = top_with(&place, &["--color", "never"]);
    terminal.shows("FENCE");
    terminal.resize_columns(40);
    let mut frame = String::new();
    eventually("all lines fit", || {
        terminal.shows("\x1b[H");
        frame = terminal.shows("\x1b[J").replace("\x1b[K", "").replace("???", "~");
        frame.lines().all(|line| line.trim_end_matches('\r').len() <= 40)
    });
    assert!(frame.contains("> job  ") && frame.contains("HOLDER"), "{frame}");
    assert!(!frame.contains('\x1b'), "no style with --color never: {frame:?}");
}

#[test]
fn x_takes_a_lock_back_after_a_yes_and_from_nobody_else() {
    let place = Place::shared(Kind::Redis);
    let first = place.acquire("job", "10m");
    let terminal = top(&place);
    terminal.shows("> job");
    terminal.types("x");
    terminal.shows("take \"job\" back?");
    terminal.shows("y yes");
    terminal.types("n");
    terminal.shows("> job");
    terminal.types("x");
    terminal.shows("take \"job\" back?");
    // Somebody else gets it while the operator thinks.
    place.dlock(["release", "-k", "job", "--token", &first]).finish().succeeds();
    let holder = place.hold_for("job", "6s");
    terminal.types("y");
    terminal.shows("changed hands, nothing was done: \"job\"");
    // For an instant there was nothing to be shown, and there may still be.
    terminal.shows("> job  held");
    terminal.types("\r");
    terminal.shows("key      job");
    terminal.types("x");
    terminal.shows("its command is stopped first");
    terminal.types("y");
    terminal.shows("asked, its command is being stopped: \"job\"");
    holder.wait().exits_with(79);
    terminal.shows("nothing is held or awaited");
    terminal.types("q");
    terminal.session.wait().succeeds();
}

#[test]
fn without_a_terminal_it_names_what_does_without() {
    let place = Place::shared(Kind::Redis);
    place.dlock(["top"]).finish().exits_with(64).complains(&["needs a terminal", "dlock list --watch"]);
}
