//! dlock inside the command of a `dlock run`.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::{Kind, Place, Running, eventually, program, sentences_for_every_backend};

sentences_for_every_backend! {
    a_run_inside_uses_the_lock_that_is_held_above_it,
    what_is_held_above_is_not_given_up_by_a_run_inside,
    a_circle_of_runs_inside_each_other_waits_for_nobody,
    a_run_in_the_background_keeps_the_lock_when_the_command_has_ended,
    a_signal_to_the_outer_run_stops_the_one_in_the_background_before_the_release,
    a_run_inside_takes_further_keys_beside_those_held_above,
    a_key_that_sorts_before_one_held_above_needs_a_bounded_wait,
    an_entry_of_a_run_that_is_gone_is_ignored,
    what_left_the_commands_session_is_waited_for_too,
    an_operator_who_takes_the_lock_back_stops_the_one_in_the_background_too,
}

/// A run of `key` whose command is this script; `$dlock` is the binary.
fn outer(place: &Place, options: &[&str], script: &str) -> Running {
    let args = ["run", "-k", "job"].into_iter().chain(options.iter().copied()).chain(["--", "sh", "-c", script]);
    place.dlock_with(args).env("dlock", program()).stdin_open().start()
}

fn a_run_inside_uses_the_lock_that_is_held_above_it(place: &Place) {
    let script = r#"echo "$DLOCK_KEY $DLOCK_TOKEN $DLOCK_FENCE"
        "$dlock" run -k job -- sh -c 'echo "$DLOCK_KEY $DLOCK_TOKEN $DLOCK_FENCE"
            exec "$dlock" run -n -k job -- sh -c "exit 7"'"#;
    let run = outer(place, &[], script).wait().exits_with(7).says_nothing_on_stderr();
    let lines: Vec<&str> = run.said().lines().collect();
    assert_eq!(lines.len(), 2, "{}", run.account());
    assert_eq!(lines[0], lines[1]);
    assert!(place.is_free("job"));
}

fn what_is_held_above_is_not_given_up_by_a_run_inside(place: &Place) {
    let run = outer(place, &[], r#""$dlock" run -k job -- true; echo ready; cat >/dev/null"#);
    run.says("ready");
    assert!(!place.is_free("job"));
    run.let_go();
    run.wait().succeeds().says_nothing_on_stderr();
    assert!(place.is_free("job"));
}

fn a_circle_of_runs_inside_each_other_waits_for_nobody(place: &Place) {
    let script = r#"exec "$dlock" run -k key -w 10 -- sh -c '
        exec "$dlock" run -k job -k key -- sh -c "exec \"\$dlock\" run -k key -k job -k other -w 10 -- sh -c \"exit 7\""'"#;
    outer(place, &[], script).wait().exits_with(7).says_nothing_on_stderr();
    assert!(place.is_free("job") && place.is_free("key") && place.is_free("other"));
}

/// A command that leaves a run inside it in the background, and the file whose end it waits for.
struct Background {
    run: Running,
    gate: PathBuf,
    _scratch: TempDir,
}

impl Background {
    fn start(place: &Place, prefix: &str) -> Self {
        let scratch = TempDir::with_prefix("dlock-gate-").expect("the temporary directory takes files");
        let gate = scratch.path().join("gate");
        nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).expect("a fresh directory takes a fifo");
        let gate_text = gate.display();
        // The command ends only when the run inside has begun.
        let script = format!(
            r#"mkfifo {gate_text}.in; {prefix} "$dlock" run -k job -- sh -c 'echo inside; echo >{gate_text}.in; cat {gate_text}' &
            cat {gate_text}.in >/dev/null"#
        );
        let run = outer(place, &["--ttl", "4s"], &script);
        run.says("inside");
        eventually("the command has ended", || run.stderr().contains("still uses"));
        Self { run, gate, _scratch: scratch }
    }

    fn open_the_gate(&self) {
        fs::write(&self.gate, "").expect("somebody reads the fifo");
    }
}

fn a_run_in_the_background_keeps_the_lock_when_the_command_has_ended(place: &Place) {
    let background = Background::start(place, "");
    // Renewed meanwhile, where there is something to renew.
    place.dlock(["run", "-w", "5", "-k", "job", "--", "true"]).finish().exits_with(75);
    background.open_the_gate();
    let ended = background.run.wait().succeeds();
    ended.complains(&["\"sh\" ended", "a dlock run inside it still uses \"job\"", "held until that ends"]);
    assert!(place.is_free("job"));
}

fn what_left_the_commands_session_is_waited_for_too(place: &Place) {
    let background = Background::start(place, "setsid");
    assert!(!place.is_free("job"));
    background.open_the_gate();
    background.run.wait().succeeds();
    assert!(place.is_free("job"));
}

fn an_operator_who_takes_the_lock_back_stops_the_one_in_the_background_too(place: &Place) {
    let background = Background::start(place, "setsid");
    place.dlock(["release", "--force", "--yes", "-k", "job"]).finish().succeeds();
    // The command itself had ended well before.
    background.run.wait().succeeds().mentions(&["an operator asked for \"job\" back", "stopping what still uses it"]);
    assert!(background.run.tree().is_empty(), "something of it lives");
    assert!(place.is_free("job"));
}

fn a_signal_to_the_outer_run_stops_the_one_in_the_background_before_the_release(place: &Place) {
    let background = Background::start(place, "");
    background.run.signal(Signal::SIGTERM);
    background.run.wait();
    assert!(background.run.tree().is_empty(), "something of it lives");
    assert!(place.is_free("job"));
}

fn a_run_inside_takes_further_keys_beside_those_held_above(place: &Place) {
    let script = r#""$dlock" run -k later -k job -- sh -c 'printf "%s\n" "$DLOCK_KEY" "$DLOCK_HELD"; cat >/dev/null'"#;
    let run = outer(place, &[], script);
    eventually("it runs", || run.stdout().lines().count() >= 4);
    let stdout = run.stdout();
    assert!(stdout.starts_with("later\njob\n"), "{stdout}");
    assert_eq!(stdout.lines().count(), 4, "both locks are told once: {stdout}");
    assert!(!place.is_free("later") && !place.is_free("job"));
    run.let_go();
    run.wait().succeeds();
    assert!(place.is_free("later") && place.is_free("job"));
}

fn a_key_that_sorts_before_one_held_above_needs_a_bounded_wait(place: &Place) {
    for call in ["run -k earlier -- true", "acquire --ttl 9s -k earlier"] {
        let run = outer(place, &[], &format!("\"$dlock\" {call}")).wait();
        run.exits_with(64).complains(&["\"earlier\" sorts before \"job\", which is held above", "give -n or -w"]);
    }
    for bound in ["-n", "-w 5"] {
        outer(place, &[], &format!("\"$dlock\" run {bound} -k earlier -- true")).wait().succeeds();
    }
    outer(place, &[], "\"$dlock\" run -k later -- true").wait().succeeds();
}

fn an_entry_of_a_run_that_is_gone_is_ignored(place: &Place) {
    let held = outer(place, &[], r#"printf '%s' "$DLOCK_HELD""#).wait().succeeds().said().to_owned();
    assert!(held.contains("exclusive"), "{held}");
    place.dlock(["run", "-n", "-k", "job", "--", "true"]).env("DLOCK_HELD", &held).finish().succeeds().says_nothing();
    let holder = place.hold("job");
    place.dlock(["run", "-n", "-k", "job", "--", "true"]).env("DLOCK_HELD", &held).finish().exits_with(75);
    holder.let_go();
    holder.wait().succeeds();
}

#[test]
fn a_stronger_mode_inside_is_a_usage_error() {
    for kind in [Kind::File, Kind::Redis] {
        let place = Place::shared(kind);
        for (outside, inside) in [("-s", "-x"), ("-s", "--slots=2"), ("--slots=2", "--slots=3"), ("--slots=2", "-s")] {
            let run = outer(&place, &[outside], &format!("\"$dlock\" run {inside} -k job -- true")).wait();
            run.exits_with(64).complains(&["\"job\" is held above as", "does not cover"]);
        }
        for (outside, inside) in [("-x", "-s"), ("-x", "--slots=2"), ("-s", "-s"), ("--slots=2", "--slots=2")] {
            outer(&place, &[outside], &format!("\"$dlock\" run {inside} -k job -- true")).wait().succeeds();
        }
    }
}

#[test]
fn what_the_run_above_has_lost_is_79_while_it_lives() {
    for kind in [Kind::Redis, Kind::ZooKeeper] {
        let place = Place::shared(kind);
        let script = r#"echo ready; read go; "$dlock" run -k job -- true; echo "inside: $?""#;
        let args = ["run", "-k", "job", "--ttl", "4s", "--on-lost", "warn", "--", "sh", "-c", script];
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let run = place.dlock(args).env("dlock", program()).stdin_from(reader).start();
        run.says("ready");
        place.take_away("job");
        eventually("the loss is told", || run.stderr().contains("lost \"job\""));
        std::io::Write::write_all(&mut &writer, b"go\n").expect("the command reads");
        run.says("inside: 79");
        run.wait().exits_with(79).mentions(&["lost \"job\": the run above does not hold it any more"]);
    }
}

#[test]
fn a_loss_kills_the_run_inside_too() {
    let place = Place::shared(Kind::Redis);
    let script = r#""$dlock" run -k job -- sh -c 'echo ready; cat >/dev/null'"#;
    let run = outer(&place, &["--ttl", "2s"], script);
    run.says("ready");
    place.take_away("job");
    run.wait().exits_with(79).mentions(&["lost \"job\""]);
    assert!(run.tree().is_empty(), "something of it lives");
}
