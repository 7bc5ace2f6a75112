//! bash, zsh and fish on a terminal: a person types some letters, the tab key and return.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{CTRL_C, Kind, Place, Terminal, eventually, path_with_dlock, silent_server};

/// An interactive shell with dlock's completions, whose dlock calls lock at a place.
struct Shell {
    terminal: Terminal,
    name: &'static str,
}

/// Keys that a shell could misunderstand, each with letters that only it begins with, as they are typed.
const KEYS: [(&str, &str); 9] = [
    ("deploy/web", "dep"),
    ("a b  c", "a"),
    ("a b  c", "'a b"),
    ("a b  c", "\"a"),
    ("it's", "it"),
    ("db:orders:1", "db:or"),
    ("$(touch pwned)`touch pwned`", "\\$"),
    ("back\\slash\"!1;&|*?[x]{y,z}~#", "back"),
    ("colour \u{1b}[31m", "colo"),
];

impl Shell {
    fn start(name: &'static str, place: &Place) -> Self {
        let completions = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions");
        let completions = completions.display();
        let (arguments, set_up) = match name {
            "bash" => {
                (&["bash", "--norc", "--noprofile", "-i"][..], format!("PS1='<$?> '; . {completions}/dlock.bash"))
            }
            "zsh" => (
                &["zsh", "-f", "-i"][..],
                format!("PS1='<%?> '; fpath=({completions} $fpath); autoload -Uz compinit; compinit -u -D"),
            ),
            _ => (
                &["fish", "--no-config", "-i"][..],
                format!("function fish_prompt; echo -n \"<$status> \"; end; source {completions}/dlock.fish"),
            ),
        };
        let terminal = Terminal::start(arguments, |call| {
            let call = place.environment().into_iter().fold(call, |call, (name, value)| call.env(name, value));
            call.env("PATH", path_with_dlock()).env("LC_ALL", "C.UTF-8").cwd(place.dir())
        });
        let shell = Self { terminal, name };
        shell.terminal.enters(&set_up);
        shell.terminal.enters("echo re''ady");
        shell.terminal.shows("ready");
        shell
    }

    /// Types the line, whose tabs are the key, and return; waits for `answer`. On a machine that has no time dlock answers too
    /// late, which is no answer: then the line is typed again.
    #[track_caller]
    fn answers(&self, line: &str, answer: &str) {
        for _ in 0..5 {
            let from = self.terminal.everything().len();
            self.terminal.types(line);
            self.terminal.types("\r");
            self.terminal.enters("echo on''ward");
            if self.shows_soon(from, "onward") && self.terminal.everything()[from..].contains(answer) {
                self.terminal.shows("onward");
                return;
            }
            // A quote may be open. What follows the key at once would be lost with it.
            self.terminal.types(CTRL_C);
            let from = self.terminal.everything().len();
            eventually("the shell asks for a new line", || {
                self.terminal.enters("echo ba''ck");
                self.shows_soon(from, "back")
            });
        }
        panic!("{}: {answer:?} is not the answer to {line:?}: {}", self.name, self.terminal.everything());
    }

    /// Whether `text` is shown behind `from` before a slow machine would have to be very slow.
    fn shows_soon(&self, from: usize, text: &str) -> bool {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(3) {
            if self.terminal.everything()[from..].contains(text) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

fn every_shell(test: impl Fn(&'static str)) {
    for name in ["bash", "zsh", "fish"] {
        test(name);
    }
}

#[test]
fn keys_are_completed_as_they_are_and_nothing_is_executed() {
    every_shell(|name| {
        let place = Place::shared(Kind::File);
        for (key, _) in KEYS {
            place.dlock(["acquire", "-k", key, "--ttl", "1h", "-n"]).finish();
        }
        let shell = Shell::start(name, &place);
        for (key, typed) in KEYS {
            let json = serde_json::to_string(key).expect("it is text");
            // Quotes that were open before are closed by the completion.
            shell.answers(&format!("dlock status --json {typed}\t"), &format!("{{\"key\":{json},"));
        }
        shell.answers("dlock status --json --key=dep\t", "{\"key\":\"deploy/web\",");
        shell.answers("dlock status --json -k db:\t -k it\t", "{\"key\":\"it's\",");
        let left: Vec<_> =
            std::fs::read_dir(place.dir()).expect("it is there").flatten().map(|e| e.file_name()).collect();
        assert!(!left.iter().any(|file| file == "pwned"), "{}: {left:?}", shell.name);
        assert!(!shell.terminal.everything().contains("\u{1b}[31m\u{1b}"), "{}", shell.name);
    });
}

#[test]
fn options_and_subcommands_are_completed_as_ever() {
    every_shell(|name| {
        let place = Place::shared(Kind::File);
        place.acquire("deploy/web", "1h");
        let shell = Shell::start(name, &place);
        shell.answers("dlock stat\t--js\tdep\t", "\"key\":\"deploy/web\",");
        shell.answers("dlock run --quie\t -k other -- echo a''lone", "alone");
    });
}

#[test]
fn the_place_is_that_of_the_line() {
    every_shell(|name| {
        let place = Place::shared(Kind::Redis);
        place.acquire("deploy/web", "1h");
        let here = Place::shared(Kind::File);
        let shell = Shell::start(name, &here);
        let (port, namespace) = (place.port(), &place.namespace);
        let line = format!("dlock status --json --redis redis://127.0.0.1:{port} --namespace {namespace} dep\t");
        shell.answers(&line, "\"key\":\"deploy/web\",");
    });
}

#[test]
fn a_server_that_hangs_leaves_the_prompt_as_it_was() {
    every_shell(|name| {
        let here = Place::shared(Kind::File);
        std::fs::write(here.dir().join("decoy"), "").expect("the directory is ours");
        let shell = Shell::start(name, &here);
        let line = format!("dlock status --redis redis://127.0.0.1:{} de\t", silent_server());
        shell.terminal.types(&line);
        // The line is given up; what follows begins a new one.
        shell.terminal.types("\x15");
        shell.terminal.enters("echo al''ive");
        let between = shell.terminal.shows("alive");
        assert!(!between.contains("dlock:") && !between.contains("coy"), "{name}: {between}");
    });
}
