use clap::Parser;

use super::*;
use crate::cli::{Cli, Command};

fn parsed(words: &[&str]) -> Command {
    Cli::try_parse_from([&["dlock"], words].concat()).unwrap_or_else(|error| panic!("{error}")).command
}

fn run_of(words: &[&str]) -> Result<RunSettings, String> {
    run_in(words, &[])
}

fn run_in(words: &[&str], variables: &[(&str, &str)]) -> Result<RunSettings, String> {
    let Command::Run(typed) = parsed(&[&["run", "-b", "file"], words].concat()) else { panic!("run was typed") };
    run(typed, &Environment::of(variables)).map_err(|error| error.to_string())
}

fn release_in(words: &[&str], variables: &[(&str, &str)]) -> Result<ReleaseSettings, String> {
    let Command::Release(typed) = parsed(&[&["release"], words].concat()) else { panic!("release was typed") };
    release(&typed, &Environment::of(variables)).map_err(|error| error.to_string())
}

fn acquire_of(words: &[&str]) -> Result<AcquireSettings, String> {
    let Command::Acquire(typed) = parsed(&[&["acquire"], words].concat()) else { panic!("acquire was typed") };
    acquire(&typed, &Environment::default()).map_err(|error| error.to_string())
}

fn program_of(settings: RunSettings) -> Vec<String> {
    let words = std::iter::once(settings.program).chain(settings.arguments);
    words.map(|word| word.into_string().expect("UTF-8")).collect()
}

#[test]
fn options_end_at_the_first_word_that_is_none() {
    let with_dashes = run_of(&["-k", "job", "--", "rsync", "-n", "-c", "--key", "x", "--help"]).expect("valid");
    assert_eq!(with_dashes.contest.wait, Wait::Forever);
    assert_eq!(program_of(with_dashes), ["rsync", "-n", "-c", "--key", "x", "--help"]);
    let without = run_of(&["-k", "job", "rsync", "-n", "-c", "--key", "x", "--help"]).expect("valid");
    assert_eq!(program_of(without), ["rsync", "-n", "-c", "--key", "x", "--help"]);
    let second_dashes = run_of(&["-k", "job", "--", "env", "--", "true"]).expect("valid");
    assert_eq!(program_of(second_dashes), ["env", "--", "true"]);
}

#[test]
fn a_command_string_is_run_by_the_users_shell() {
    let settings = run_in(&["-k", "job", "-c", "a && b"], &[("SHELL", "/bin/zsh")]).expect("valid");
    assert_eq!(program_of(settings), ["/bin/zsh", "-c", "a && b"]);
    let settings = run_of(&["-k", "job", "-c", "-x"]).expect("valid");
    assert_eq!(program_of(settings), ["/bin/sh", "-c", "-x"]);
    assert!(run_of(&["-k", "job", "-c", "a", "b"]).is_err());
}

#[test]
fn a_missing_command_is_one_sentence() {
    assert_eq!(run_of(&["-k", "job"]).err(), Some("no command given: dlock run --key KEY -- COMMAND".to_owned()));
    assert_eq!(run_of(&["--", "true"]).err(), Some("no --key given: name the lock".to_owned()));
}

#[test]
fn the_same_key_twice_counts_once_and_several_are_taken_in_the_order_of_their_bytes() {
    let keys = run_of(&["-k", "b", "-k", "ä", "-k", "a", "-k", "b", "true"]).expect("valid").keys;
    let texts = |keys: Vec<&LockKey>| keys.into_iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(keys.as_slice().iter().collect()), ["b", "ä", "a"]);
    assert_eq!(texts(keys.in_order()), ["a", "b", "ä"]);
}

#[test]
fn sixty_four_keys_can_be_held_together_and_no_more() {
    let of = |count: usize| {
        let keys: Vec<String> = (0..count).map(|number| format!("-kjob-{number}")).collect();
        run_of(&keys.iter().map(String::as_str).chain(["true"]).collect::<Vec<_>>())
    };
    assert_eq!(of(64).expect("valid").keys.as_slice().len(), 64);
    assert_eq!(of(65).err().as_deref(), Some("too many keys: at most 64 can be held together, these are 65"));
}

#[test]
fn what_cannot_be_a_key_is_refused_with_the_rule_it_breaks() {
    let long = "k".repeat(513);
    for (key, rule) in [
        ("", "a key cannot be empty"),
        (long.as_str(), "a key has at most 512 bytes, this one has 513"),
        ("a\nb", "a key cannot contain a newline or a NUL byte"),
    ] {
        assert_eq!(run_of(&["-k", key, "true"]).err(), Some(format!("invalid --key: {rule}")));
    }
}

#[test]
fn negative_numbers_reach_the_sentence_about_the_value() {
    let sentence = run_of(&["-k", "a", "--ttl", "-1", "true"]).expect_err("refused");
    assert!(sentence.starts_with(r#"invalid --ttl "-1": that is no duration"#), "{sentence}");
    let sentence = run_of(&["-k", "a", "-E", "-1", "true"]).expect_err("refused");
    assert!(sentence.starts_with(r#"invalid --conflict-exit-code "-1""#), "{sentence}");
    let sentence = run_of(&["-k", "a", "-w", "-1", "true"]).expect_err("refused");
    assert!(sentence.starts_with(r#"invalid --wait "-1""#), "{sentence}");
}

#[test]
fn a_lease_nobody_named_is_a_default_that_a_backend_may_change() {
    assert_eq!(run_of(&["-k", "a", "true"]).expect("valid").ttl, Ttl::Default(Duration::from_secs(30)));
    let named = run_in(&["-k", "a", "true"], &[("DLOCK_TTL", "30s")]).expect("valid");
    assert_eq!(named.ttl, Ttl::Exactly(Duration::from_secs(30)));
    let sentence = run_in(&["-k", "a", "true"], &[("DLOCK_TTL", "0")]).err();
    assert_eq!(sentence.as_deref(), Some(r#"invalid DLOCK_TTL "0": a lease lasts at least 1s and at most 366d"#));
}

#[test]
fn acquire_has_no_default_lease_and_no_quiet_failure() {
    let sentence = acquire_of(&["-k", "a"]).expect_err("no ttl");
    assert!(sentence.starts_with("no --ttl given"), "{sentence}");
    let sentence = acquire_of(&["-k", "a", "--ttl", "10", "-E", "0"]).err();
    assert_eq!(sentence.as_deref(), Some("-E 0 is not for acquire: a script must not go on without the lock"));
}

#[test]
fn acquire_hands_out_its_token_in_four_forms() {
    let output = |words: &[&str]| acquire_of(&[&["-k", "a", "--ttl", "10"], words].concat()).expect("valid").output;
    assert_eq!(output(&[]), TokenOutput::Token);
    assert_eq!(output(&["--json"]), TokenOutput::Json);
    assert_eq!(output(&["--export"]), TokenOutput::ShellExport);
    assert_eq!(output(&["--export=env"]), TokenOutput::EnvironmentFile);
}

#[test]
fn an_environment_file_carries_no_value_that_could_end_its_line() {
    let sentence = acquire_of(&["-k", "a\rEVIL=1", "--ttl", "10", "--export=env"]).expect_err("a carriage return");
    assert_eq!(sentence, "--export=env cannot carry control characters; use --export or --json");
    let sentence = acquire_of(&["-k", "a", "--ttl", "10", "--dir", "/a\nEVIL=1", "--export=env"]);
    assert!(sentence.is_err());
    assert!(acquire_of(&["-k", "a\rb", "--ttl", "10", "--export"]).is_ok());
}

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn a_release_finds_key_and_token_in_the_environment() {
    let settings = release_in(&[], &[("DLOCK_KEY", "job"), ("DLOCK_TOKEN", TOKEN)]).expect("valid");
    assert_eq!((settings.keys.first().as_str(), settings.token.secret()), ("job", TOKEN));
    let other = "f".repeat(32);
    let typed = ["-k", "other", "--token", &other];
    let settings = release_in(&typed, &[("DLOCK_KEY", "job"), ("DLOCK_TOKEN", TOKEN)]).expect("valid");
    assert_eq!((settings.keys.first().as_str(), settings.token.secret()), ("other", other.as_str()));
}

#[test]
fn a_release_without_a_token_or_with_a_broken_one_never_shows_it() {
    let sentence = release_in(&["-k", "job"], &[]).expect_err("no token");
    assert!(sentence.starts_with("no token: give"), "{sentence}");
    let sentence = release_in(&["-k", "job", "--token", "0123"], &[]).err();
    let expected = "invalid --token: an owner token is 32 hexadecimal digits, as printed by dlock acquire";
    assert_eq!(sentence.as_deref(), Some(expected));
}

#[test]
fn inside_a_run_the_token_must_be_typed() {
    let inside = [("DLOCK_KEY", "job"), ("DLOCK_TOKEN", TOKEN), ("DLOCK_HELD", "1")];
    let sentence = release_in(&[], &inside).expect_err("the run's own token");
    assert!(sentence.starts_with("no --token given: inside dlock run"), "{sentence}");
    assert!(release_in(&["--token", TOKEN], &inside).is_ok());
}

#[test]
fn status_takes_keys_as_words_and_as_options_each_once() {
    let Command::Status(typed) = parsed(&["status", "a", "-k", "b", "c", "-k", "a"]) else {
        panic!("status was typed")
    };
    let settings = status(&typed, &Environment::default()).expect("valid");
    let keys: Vec<&str> = settings.keys.iter().map(LockKey::as_str).collect();
    assert_eq!(keys, ["b", "a", "c"]);
    let Command::Status(typed) = parsed(&["status"]) else { panic!("status was typed") };
    let error = status(&typed, &Environment::default()).expect_err("no key");
    assert_eq!(error.to_string(), "no key given: dlock status KEY…");
}

#[test]
fn a_pattern_that_is_none_is_refused() {
    let Command::List(typed) = parsed(&["list", "a[b"]) else { panic!("list was typed") };
    let error = list(&typed, &Environment::default()).expect_err("an open bracket");
    assert!(error.to_string().starts_with(r#"invalid pattern "a[b": "#), "{error}");
}
