use tempfile::TempDir;

use super::*;
use crate::settings::Environment;
use crate::settings::source::{switch_at, text};

/// Files of a user and of a host, and what they say to whom.
struct Host(TempDir);

impl Host {
    fn with(user: &str, system: &str) -> Self {
        let directory = TempDir::new().expect("the temporary directory takes files");
        std::fs::write(directory.path().join("user.toml"), user).expect("there is room");
        std::fs::write(directory.path().join("system.toml"), system).expect("there is room");
        Self(directory)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("temporary directories have plain names").to_owned()
    }

    fn read(&self, profile: Option<&str>) -> Result<Files, String> {
        let place = |name: &str, profile, base| Place { path: self.0.path().join(name), named_as: None, profile, base };
        let places = vec![
            place("user.toml", Level::UserProfile, Level::User),
            place("system.toml", Level::SystemProfile, Level::System),
        ];
        let profile = profile.map(|name| Stated {
            value: name.to_owned(),
            name: "--profile".to_owned(),
            level: Level::CommandLine,
        });
        Files::read(places, profile.as_ref()).map_err(|error| error.to_string())
    }
}

/// What is said of one file's text, its path left out.
fn said_of(text: &str) -> String {
    let host = Host::with(text, "");
    let sentence = host.read(None).expect_err("it is wrong");
    sentence.replace(&host.path("user.toml"), "FILE")
}

#[test]
fn of_four_tables_the_users_profile_comes_first_and_the_hosts_base_last() {
    let user = "[profile.ci]\nttl = '1s'\n";
    let with_base = format!("ttl = '2s'\nwait = '2s'\n{user}");
    let system = "ttl = '4s'\nwait = '4s'\nlabel = 'base'\nlayout = 'dlock'\n\
                  [profile.ci]\nttl = '3s'\nwait = '3s'\nlabel = 'profile'\n";
    let host = Host::with(&with_base, system);
    let decided = |profile, key| {
        let files = host.read(profile).expect("it is valid");
        let environment = Environment::of_files(files);
        text(None, key, &environment).expect("UTF-8").map(|stated| stated.value)
    };
    assert_eq!(decided(Some("ci"), "ttl").as_deref(), Some("1s"));
    assert_eq!(decided(Some("ci"), "wait").as_deref(), Some("2s"), "a user's base comes before a host's profile");
    assert_eq!(decided(Some("ci"), "label").as_deref(), Some("profile"));
    assert_eq!(decided(Some("ci"), "layout").as_deref(), Some("dlock"));
    assert_eq!(decided(None, "ttl").as_deref(), Some("2s"));
    assert_eq!(decided(None, "label").as_deref(), Some("base"));
    assert_eq!(decided(None, "zk"), None);
}

#[test]
fn a_value_is_called_by_its_key_its_file_and_its_line() {
    let host = Host::with("\n\nttl = 'soon'\nquiet = true\n", "");
    let environment = Environment::of_files(host.read(None).expect("it is valid TOML"));
    let stated = text(None, "ttl", &environment).expect("UTF-8").expect("it stands there");
    assert_eq!(stated.name, format!("ttl in {} line 3", host.path("user.toml")));
    let error = stated.invalid("no duration");
    let sentence = format!(r#"invalid ttl in {} line 3, "soon": no duration"#, host.path("user.toml"));
    assert_eq!(error.to_string(), sentence);
    assert!(matches!(error, Error::Configuration(_)));
    assert_eq!(switch_at(Level::User, false, "quiet", &environment).expect("a boolean"), Some(true));
}

#[test]
fn numbers_and_lists_become_what_would_have_been_typed() {
    let text_of = |line: &str, key| {
        let host = Host::with(line, "");
        let files = host.read(None).expect("it is valid");
        files.text(Level::User, key).map(|stated| stated.value)
    };
    assert_eq!(text_of("ttl = 90", "ttl").as_deref(), Some("90"));
    assert_eq!(text_of("ttl = 1_000", "ttl").as_deref(), Some("1000"));
    assert_eq!(text_of("wait = 0.25", "wait").as_deref(), Some("0.25"));
    assert_eq!(text_of("wait = -1", "wait").as_deref(), Some("-1"), "what it means is decided elsewhere");
    assert_eq!(text_of("slots = 0x10", "slots").as_deref(), Some("16"));
    assert_eq!(text_of("slots = '3'", "slots").as_deref(), Some("3"));
    assert_eq!(text_of("redis = ['redis://a', 'redis://b']", "redis").as_deref(), Some("redis://a,redis://b"));
    assert_eq!(text_of("redis = 'redis://a'", "redis").as_deref(), Some("redis://a"));
    assert_eq!(text_of("namespace = ''", "namespace").as_deref(), Some(""));
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_column() {
    for (text, sentence) in [
        ("tll = '3s'", r#"unknown key "tll" in FILE line 1, column 1: there is no such setting; did you mean "ttl"?"#),
        (
            "[profile.ci]\n max_runtime = 3",
            r#"unknown key "max_runtime" in FILE line 2, column 2: there is no such setting; did you mean "max-runtime"?"#,
        ),
        (
            "[ttl]",
            r#"ttl in FILE line 1, column 1: it has to be a duration as "30s", or a number of seconds, and this is of type table"#,
        ),
        (
            "\n  nonblock = 'yes'",
            "nonblock in FILE line 2, column 14: it has to be true or false, and this is of type string",
        ),
        (
            "redis = ['redis://a', 3]",
            "redis in FILE line 1, column 9: it has to be a text in quotes, or a list of them, and this is of type array",
        ),
        (
            "wait = nan",
            "wait in FILE line 1, column 8: it has to be a duration as \"30s\", or a number of seconds, and this is of type float",
        ),
        ("slots = 2.0", "slots in FILE line 1, column 9: it has to be a whole number, and this is of type float"),
        ("ttl = 1\nttl = 2", "invalid TOML in FILE line 2, column 1: duplicate key"),
        (
            "profile = 'ci'",
            "profile in FILE line 1, column 1: profiles are tables: [profile.NAME] and its settings below",
        ),
        (
            "[[profile.ci]]",
            "profile in FILE line 1, column 11: profiles are tables: [profile.NAME] and its settings below",
        ),
        (
            "config = 'x'",
            r#"unknown key "config" in FILE line 1, column 1: it belongs to one call, and can stand in the command line only"#,
        ),
        (
            "ttl = 1\nkey = 'x'",
            r#"unknown key "key" in FILE line 2, column 1: it belongs to one call, and can stand in the command line only"#,
        ),
        (
            "\"a\u{1b}b\" = 1",
            r#"invalid TOML in FILE line 1, column 3: invalid basic string, expected non-double-quote visible characters, `\`"#,
        ),
    ] {
        assert_eq!(said_of(text), sentence, "{text:?}");
    }
    let torn = said_of("ttl = '3s\nwait");
    assert!(torn.starts_with("invalid TOML in FILE line ") && !torn.contains('\n'), "{torn}");
}

#[test]
fn a_profile_that_no_file_has_is_refused_with_the_nearest() {
    let host = Host::with("[profile.production]\n", "[profile.ci]\n");
    let sentence = host.read(Some("prodution")).expect_err("there is none");
    assert!(sentence.starts_with(r#"invalid --profile "prodution": there is no such profile in /"#), "{sentence}");
    assert!(sentence.ends_with(r#"; did you mean "production"?"#), "{sentence}");
    assert!(host.read(Some("ci")).is_ok(), "one file is enough");
    let sentence = Host::with("", "").read(Some("ci")).expect_err("there is none");
    assert!(sentence.ends_with("; no configuration file has any"), "{sentence}");
}

#[test]
fn a_file_that_is_not_there_is_none_unless_it_was_named() {
    let place = |named_as: Option<&str>, path: &str| Place {
        path: path.into(),
        named_as: named_as.map(str::to_owned),
        profile: Level::UserProfile,
        base: Level::User,
    };
    for absent in ["/nonexistent/dlock.toml", "/dev/null/dlock.toml"] {
        let files = Files::read(vec![place(None, absent)], None).expect("nobody asked for it");
        assert!(!files.looked_for[0].found);
        let error = Files::read(vec![place(Some("--config"), absent)], None).expect_err("it was named");
        assert!(error.to_string().starts_with(&format!("cannot read --config {absent:?}: ")), "{error}");
    }
    let error = Files::read(vec![place(None, "/")], None).expect_err("a directory stands there");
    assert_eq!(error.to_string(), "cannot read /: it is no file");
}

#[test]
fn a_password_that_everybody_may_read_is_told() {
    use std::os::unix::fs::PermissionsExt as _;

    let warned = |text: &str, mode: u32| {
        let host = Host::with(text, "");
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(host.path("user.toml"), mode).expect("it is ours");
        !host.read(None).expect("it is valid").warnings.is_empty()
    };
    for secret in [
        "redis-password = 'x'",
        "redis = 'redis://:pw@r1'",
        "redis = ['redis://r0', 'rediss://u:p@r1']",
        "redis = 'unix:///s?user=u&pass=p'",
        "[profile.ci]\nredis = 'redis-sentinel://u:p@h1/main'",
    ] {
        assert!(warned(secret, 0o644), "{secret}");
        assert!(!warned(secret, 0o640), "{secret}");
    }
    for public in ["redis = 'redis://r1'", "redis = 'redis://user@r1'", "redis-password-file = '/p'", "label = 'a:b@c'"]
    {
        assert!(!warned(public, 0o644), "{public}");
    }
}

#[test]
fn a_relative_path_starts_where_its_file_stands() {
    let host = Host::with("tls-ca = 'ca.pem'\ndir = '/srv'", "");
    let files = host.read(None).expect("it is valid");
    let path = |key| files.path(Level::User, key).map(|stated| stated.value);
    assert_eq!(path("tls-ca"), Some(host.0.path().join("ca.pem")));
    assert_eq!(path("dir"), Some("/srv".into()));
}

/// Lines that people write there, right and wrong, and some that nobody would.
fn lines() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;

    let known = proptest::sample::select(vec![
        "ttl = '3s'",
        "redis = ['redis://a', 'redis://:p@b']",
        "[profile.ci]",
        "[profile",
        "nonblock = true",
        "wait = 1e3",
        "slots = 0xff",
        "profile.ci.ttl = 3",
        "dir = \"\"\"",
        "label = 'ä\u{202e}'",
        "= =",
    ]);
    let line =
        prop_oneof![4 => known.prop_map(str::to_owned), 1 => "\\PC{0,12}", 1 => "[a-z-]{1,9} = [0-9a-z'\\[{.]{0,6}"];
    proptest::collection::vec(line, 0..6).prop_map(|lines| lines.join("\n"))
}

proptest::proptest! {
    #[test]
    fn whatever_stands_there_is_understood_or_refused_in_one_line(text in lines()) {
        let path = Path::new("/etc/dlock/config.toml");
        if let Err(error) = (Document { path, text: &text }).parse() {
            let sentence = error.to_string();
            proptest::prop_assert!(sentence.contains(" in /etc/dlock/config.toml line "), "{sentence}");
            proptest::prop_assert!(!sentence.contains(char::is_control), "{sentence:?}");
        }
    }
}
