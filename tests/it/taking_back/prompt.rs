//! What an operator is asked on a terminal, and what the answers do.

use nix::sys::signal::Signal;

use crate::support::*;

sentences_for_every_backend! {
    nobody_loses_a_lock_without_a_yes,
    a_yes_takes_it,
    whoever_got_it_while_the_operator_thought_keeps_it,
}

fn asks(place: &Place, words: &[&str]) -> Terminal {
    let options = place.options();
    let program = [program(), "release", "--force", "-k", "job"];
    let options = options.iter().map(String::as_str);
    let args: Vec<&str> = program.into_iter().chain(options).chain(words.iter().copied()).collect();
    Terminal::start(&args, |call| call)
}

const CTRL_D: &str = "\x04";

fn nobody_loses_a_lock_without_a_yes(place: &Place) {
    let token = place.acquire("job", "10m");
    for no in ["n\r", "\r", "yesterday\r", CTRL_D] {
        let terminal = asks(place, &[]);
        terminal.shows("dlock: \"job\" is taken by");
        terminal.shows("nobody can be asked to give it up; free \"job\" at once? [y/N] ");
        terminal.types(no);
        terminal.shows("nothing was done");
        terminal.session.wait().exits_with(1);
    }
    let terminal = asks(place, &["--log-format", "json", "-q"]);
    terminal.shows("[y/N] ");
    terminal.types(CTRL_C);
    terminal.session.wait().dies_of(Signal::SIGINT);
    place.dlock(["release", "-k", "job", "--token", &token]).finish().succeeds();
}

fn a_yes_takes_it(place: &Place) {
    for yes in ["y\r", "YES\r"] {
        let holder = place.hold_for("job", "6s");
        let terminal = asks(place, &[]);
        terminal.shows("(sh)");
        terminal.shows("stop its command and take \"job\" back? [y/N] ");
        terminal.types(yes);
        terminal.shows("asked ");
        holder.wait().exits_with(79);
        terminal.session.wait().succeeds();
        assert!(place.is_free("job"));
    }
}

fn whoever_got_it_while_the_operator_thought_keeps_it(place: &Place) {
    let first = place.acquire("job", "10m");
    let terminal = asks(place, &[]);
    terminal.shows("[y/N] ");
    place.dlock(["release", "-k", "job", "--token", &first]).finish().succeeds();
    let second = place.acquire("job", "10m");
    terminal.types("y\r");
    terminal.shows("cannot take \"job\" back: it is held by");
    terminal.shows("nothing was done");
    terminal.session.wait().exits_with(75);
    let terminal = asks(place, &[]);
    terminal.shows("[y/N] ");
    place.dlock(["release", "-k", "job", "--token", &second]).finish().succeeds();
    terminal.types("y\r");
    terminal.shows("nobody holds \"job\"");
    terminal.session.wait().succeeds();
}
