//! The words of a `run`, read without building its definition: every job starts with one, and clap takes longer to be
//! told of fifty options than all else that dlock does before it asks for the lock.
//!
//! Only what is plainly right is read here. Help, mistakes and whatever could be meant in two ways go to clap, which
//! decides; a test reads every option of the definition both ways.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use lexopt::Arg;

use super::Run;

/// Where an option's value goes.
enum Place<'a> {
    Switch(&'a mut bool),
    Text(&'a mut Option<String>),
    Texts(&'a mut Vec<String>),
    Path(&'a mut Option<PathBuf>),
    Words(&'a mut Option<OsString>),
}

/// The `run` that the words after its name mean; `None`: ask clap.
#[must_use]
pub fn run(words: &[OsString]) -> Option<Run> {
    let mut run = Run::default();
    let mut parser = lexopt::Parser::from_args(words);
    while let Some(word) = parser.next().ok()? {
        let place = match word {
            Arg::Short(letter) => short(letter, &mut run)?,
            Arg::Long(name) => long(name, &mut run)?,
            Arg::Value(program) => {
                run.program = std::iter::once(program).chain(parser.raw_args().ok()?).collect();
                break;
            }
        };
        place.take(&mut parser)?;
    }
    let has_plain_program = run.program.first().is_none_or(|word| is_plain(word));
    (has_plain_program && !run.program.iter().any(|word| word == "--")).then_some(run)
}

fn short(letter: char, run: &mut Run) -> Option<Place<'_>> {
    let name = match letter {
        'k' => "key",
        'b' => "backend",
        'c' => "command",
        'n' => "nonblock",
        'w' => "wait",
        'E' => "conflict-exit-code",
        'x' => "exclusive",
        's' => "shared",
        'q' => "quiet",
        'v' => "verbose",
        _ => return None,
    };
    long(name, run)
}

fn long<'a>(name: &str, run: &'a mut Run) -> Option<Place<'a>> {
    use Place::{Path, Switch, Text, Texts, Words};
    let Run { retention, sharing, contest, stopping, backend, files, label, voice, .. } = run;
    Some(match name {
        "command" => Words(&mut run.command),
        "key" => Texts(&mut run.key),
        "ttl" => Text(&mut run.ttl),
        "fence-file" => Path(&mut run.fence_file),
        "hold-at-least" => Text(&mut retention.hold_at_least),
        "lock-delay" => Text(&mut retention.delay.lock_delay),
        "exclusive" => Switch(&mut sharing.exclusive),
        "shared" => Switch(&mut sharing.shared),
        "slots" => Text(&mut sharing.slots),
        "nonblock" => Switch(&mut contest.nonblock),
        "wait" => Text(&mut contest.wait),
        "max-waiters" => Text(&mut contest.max_waiters),
        "jitter" => Text(&mut contest.jitter),
        "conflict-exit-code" => Text(&mut contest.conflict_exit_code),
        "max-runtime" => Text(&mut stopping.max_runtime),
        "kill-after" => Text(&mut stopping.kill_after),
        "stop-signal" => Text(&mut stopping.stop_signal),
        "on-lost" => Text(&mut stopping.on_lost),
        "descendants" => Text(&mut stopping.descendants),
        "backend" => Text(&mut backend.backend),
        "redis" => Texts(&mut backend.redis),
        "redis-password-file" => Path(&mut backend.redis_password_file),
        "tls-ca" => Path(&mut backend.tls_ca),
        "tls-cert" => Path(&mut backend.tls_cert),
        "tls-key" => Path(&mut backend.tls_key),
        "wait-replicas" => Text(&mut backend.wait_replicas),
        "layout" => Text(&mut backend.layout),
        "zk" => Text(&mut backend.zk),
        "zk-auth-file" => Path(&mut backend.zk_auth_file),
        "zk-acl" => Text(&mut backend.zk_acl),
        "fence-floor" => Text(&mut backend.fence_floor),
        "strict" => Switch(&mut backend.strict),
        "dir" => Path(&mut backend.dir),
        "namespace" => Text(&mut backend.namespace),
        "config" => Path(&mut files.config),
        "profile" => Text(&mut files.profile),
        "label" => Text(&mut label.label),
        "quiet" => Switch(&mut voice.quiet),
        "verbose" => Switch(&mut voice.verbose),
        "log-format" => Text(&mut voice.log_format),
        "color" => Text(&mut voice.color),
        _ => return None,
    })
}

impl Place<'_> {
    /// Fills it with what follows; a second value, where there may be one only, is a mistake.
    fn take(self, parser: &mut lexopt::Parser) -> Option<()> {
        if let Self::Switch(switch) = self {
            return (!std::mem::replace(switch, true)).then_some(());
        }
        let value = parser.value().ok().filter(|value| is_plain(value))?;
        match self {
            Self::Switch(_) => {}
            Self::Texts(texts) => texts.push(value.into_string().ok()?),
            Self::Text(place) => fill(place, value.into_string().ok()?)?,
            Self::Path(place) => fill(place, value.into())?,
            Self::Words(place) => fill(place, value)?,
        }
        Some(())
    }
}

fn fill<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// Neither empty nor something that looks like an option.
fn is_plain(word: &OsStr) -> bool {
    word.as_bytes().first().is_some_and(|&first| first != b'-')
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};
    use proptest::prelude::*;

    use super::*;
    use crate::cli::{Cli, Command};

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    fn by_clap(typed: &[OsString]) -> Option<Run> {
        let before = words(&["dlock", "run"]);
        match Cli::try_parse_from(before.iter().chain(typed)).ok()?.command {
            Command::Run(run) => Some(run),
            _ => None,
        }
    }

    #[track_caller]
    fn assert_means_the_same(typed: &[OsString]) {
        let quick = run(typed).unwrap_or_else(|| panic!("{typed:?} is plain"));
        let long = by_clap(typed).unwrap_or_else(|| panic!("{typed:?} is right"));
        assert_eq!(format!("{quick:?}"), format!("{long:?}"), "{typed:?}");
    }

    #[test]
    fn every_option_is_read_as_its_definition_has_it_in_each_way_to_write_it() {
        let definition = Cli::command();
        let defined = definition.find_subcommand("run").expect("there is a run");
        for option in defined.get_arguments().filter(|argument| !argument.is_positional()) {
            let long = option.get_long().expect("every option has a long name");
            let short = option.get_short();
            let ways: Vec<Vec<String>> = if option.get_action().takes_values() {
                let short = short.map(|short| [vec![format!("-{short}"), "v".into()], vec![format!("-{short}v=w")]]);
                let long = [vec![format!("--{long}"), "v".into()], vec![format!("--{long}=v=w")]];
                long.into_iter().chain(short.into_iter().flatten()).collect()
            } else {
                let short = short.map(|short| vec![format!("-{short}")]);
                [vec![format!("--{long}")]].into_iter().chain(short).collect()
            };
            for way in ways {
                let typed: Vec<OsString> = way.iter().map(OsString::from).collect();
                assert_means_the_same(&typed);
                let program = words(&["make", "-k", "-j4"]);
                assert_means_the_same(&[&typed[..], &words(&["--"])[..], &program[..]].concat());
                assert_means_the_same(&[&typed[..], &program[..]].concat());
            }
        }
    }

    #[test]
    fn what_may_be_a_mistake_is_for_clap() {
        for typed in [
            &["--help"][..],
            &["-h"],
            &["-Z"],
            &["--nonsense"],
            &["-k"],
            &["-k", ""],
            &["--key="],
            &["-k", "-a"],
            &["-n", "-n"],
            &["--ttl", "3s", "--ttl=4s"],
            &["--nonblock=1"],
            &["-k", "a", "make", "--", "x"],
            &["--", "-x"],
        ] {
            assert!(run(&words(typed)).is_none(), "{typed:?}");
        }
    }

    /// Words that people type here, right and wrong, and some that nobody would.
    fn typed() -> impl Strategy<Value = Vec<OsString>> {
        let definition = Cli::command();
        let defined = definition.find_subcommand("run").expect("there is a run");
        let long = defined.get_arguments().filter_map(clap::Arg::get_long).map(|long| format!("--{long}"));
        let short = defined.get_arguments().filter_map(clap::Arg::get_short).map(|short| format!("-{short}"));
        let options: Vec<String> = long.chain(short).collect();
        let word = prop_oneof![
            4 => proptest::sample::select(options.clone()),
            2 => (proptest::sample::select(options), "=?[a-z0-9=-]{0,3}").prop_map(|(option, value)| option + &value),
            3 => "[a-z]{1,4}",
            1 => Just("--".to_owned()),
            1 => "\\PC{0,4}",
        ];
        proptest::collection::vec(word.prop_map(OsString::from), 0..9)
    }

    proptest! {
        #[test]
        fn what_is_read_here_is_what_clap_reads(typed in typed()) {
            if let Some(quick) = run(&typed) {
                let long = by_clap(&typed);
                prop_assert_eq!(Some(format!("{quick:?}")), long.map(|long| format!("{long:?}")), "{:?}", typed);
            }
        }
    }
}
