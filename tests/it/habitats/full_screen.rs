//! Programs that take the whole screen.

use nix::sys::signal::Signal;

use super::{Shell, TELLS_SIGNALS};
use crate::support::{CTRL_Z, ESCAPE, Kind, Place};

#[test]
fn an_editor_edits_is_suspended_and_resumed_and_writes() {
    let place = Place::shared(Kind::File);
    let shell = Shell::start(&place, &[("notes", "as it was\n")]);
    shell.runs("export TERM=vt100; stty -a >before");
    shell.terminal.enters("dlock run -k job -- vi -u NONE -N -n notes");
    shell.terminal.shows("as it was");
    shell.terminal.types(&format!("Goan edit{ESCAPE}:w\r"));
    shell.terminal.shows("written");
    assert_eq!(shell.read("notes"), "as it was\nan edit\n");
    shell.terminal.types(CTRL_Z);
    shell.says_stopped();
    assert!(!place.is_free("job"));
    shell.terminal.enters("fg");
    shell.terminal.shows("as it was");
    shell.terminal.types(&format!("Goanother{ESCAPE}:wq\r"));
    shell.prompts_after(0);
    assert_eq!(shell.read("notes"), "as it was\nan edit\nanother\n");
    assert!(place.is_free("job"));
    shell.runs("stty -a >after");
    assert_eq!(shell.read("after"), shell.read("before"));
}

#[test]
fn a_pager_pages_and_quits() {
    let place = Place::shared(Kind::File);
    let lines: String = (1..=500).map(|number| format!("line {number}.\n")).collect();
    let shell = Shell::start(&place, &[("lines", &lines)]);
    shell.terminal.enters("TERM=vt100 dlock run -k job -- less lines");
    shell.terminal.shows("line 49.");
    shell.terminal.types(" ");
    shell.terminal.shows("line 98.");
    shell.terminal.types("G");
    shell.terminal.shows("line 500.");
    shell.terminal.types("q");
    shell.prompts_after(0);
    assert!(place.is_free("job"));
}

/// In a pipe, a pager has the terminal for its keys alone.
#[test]
fn a_pager_at_the_end_of_a_pipe_reads_keys_from_the_terminal() {
    let place = Place::shared(Kind::File);
    let shell = Shell::start(&place, &[]);
    shell.terminal.enters("seq -f 'line %g.' 500 | TERM=vt100 dlock run -k job -- less");
    shell.terminal.shows("line 49.");
    shell.terminal.types("Gq");
    shell.prompts_after(0);
}

#[test]
fn a_new_size_of_the_window_reaches_the_command_once() {
    let place = Place::shared(Kind::File);
    let shell = Shell::start(&place, &[("tells", TELLS_SIGNALS)]);
    shell.terminal.enters("dlock run -k job -- bash tells");
    shell.terminal.shows("started");
    for rows in [30, 40] {
        shell.terminal.resize(rows);
        shell.terminal.shows("got WINCH");
        shell.terminal.shows(&format!("{rows} 200"));
        shell.signal_dlock(Signal::SIGUSR1);
        let between = shell.terminal.shows("got USR1");
        assert!(!between.contains("got"), "{between}");
    }
    shell.signal_dlock(Signal::SIGUSR2);
    shell.prompts_after(3);
}
