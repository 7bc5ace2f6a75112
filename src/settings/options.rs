//! Every option that a file may set, and what its value may look like there.

use std::fmt;

/// An option that has a variable, and therefore a key in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setting {
    /// The long option's name.
    pub key: &'static str,
    pub kind: Kind,
    /// As the help says it.
    pub default: &'static str,
}

/// What TOML has to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Switch,
    Text,
    /// From the directory of the file that names it.
    Path,
    /// A whole number, or its digits in quotes.
    Number,
    /// A text, or seconds as a number.
    Duration,
    /// A text, or a list of them.
    List,
    /// A text that nobody may see.
    Secret,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Switch => "true or false",
            Self::Text | Self::Path | Self::Secret => "a text in quotes",
            Self::Number => "a whole number",
            Self::Duration => "a duration as \"30s\", or a number of seconds",
            Self::List => "a text in quotes, or a list of them",
        })
    }
}

const fn setting(key: &'static str, kind: Kind, default: &'static str) -> Setting {
    Setting { key, kind, default }
}

/// In the order of the help.
pub(super) const SETTINGS: &[Setting] = &[
    setting("ttl", Kind::Duration, "30s (acquire: none)"),
    setting("hold-at-least", Kind::Duration, "0"),
    setting("lock-delay", Kind::Duration, "0"),
    setting("exclusive", Kind::Switch, "true"),
    setting("shared", Kind::Switch, "false"),
    setting("slots", Kind::Number, "none"),
    setting("label", Kind::Text, "none"),
    setting("nonblock", Kind::Switch, "false"),
    setting("wait", Kind::Duration, "for ever"),
    setting("max-waiters", Kind::Number, "none"),
    setting("jitter", Kind::Duration, "0"),
    setting("conflict-exit-code", Kind::Number, "75"),
    setting("max-runtime", Kind::Duration, "none"),
    setting("kill-after", Kind::Duration, "TTL/5, at most 5s"),
    setting("stop-signal", Kind::Text, "TERM"),
    setting("on-lost", Kind::Text, "kill"),
    setting("descendants", Kind::Text, "ignore"),
    setting("backend", Kind::Text, "file"),
    setting("redis", Kind::List, "redis://127.0.0.1:6379"),
    setting("redis-password", Kind::Secret, "none"),
    setting("redis-password-file", Kind::Path, "none"),
    setting("tls-ca", Kind::Path, "the system's"),
    setting("tls-cert", Kind::Path, "none"),
    setting("tls-key", Kind::Path, "none"),
    setting("wait-replicas", Kind::Number, "0"),
    setting("layout", Kind::Text, "dlock"),
    setting("zk", Kind::Text, "127.0.0.1:2181"),
    setting("zk-auth-file", Kind::Path, "none"),
    setting("zk-acl", Kind::Text, "open, or what --zk-auth-file implies"),
    setting("fence-floor", Kind::Number, "0"),
    setting("strict", Kind::Switch, "false"),
    setting("dir", Kind::Path, "this user's own"),
    setting("namespace", Kind::Text, "dlock"),
    setting("quiet", Kind::Switch, "false"),
    setting("verbose", Kind::Switch, "false"),
    setting("log-format", Kind::Text, "text"),
    setting("color", Kind::Text, "auto"),
];

/// Settings without an option: a command line is no place for a secret.
#[cfg(test)]
const WITHOUT_OPTION: &[&str] = &["redis-password"];

/// Options that say which file to read, and so can stand in none.
pub(super) const CHOOSING_FILES: [&str; 2] = ["config", "profile"];

/// The setting of this name.
pub(super) fn by_key(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// The one that `key` was most likely meant to be.
pub(super) fn nearest(key: &str) -> &'static str {
    let similarity = |setting: &&Setting| strsim::jaro_winkler(setting.key, &key.to_lowercase().replace('_', "-"));
    let nearest = SETTINGS.iter().max_by(|one, other| similarity(one).total_cmp(&similarity(other)));
    nearest.expect("there are settings").key
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli;

    #[test]
    fn every_option_with_a_variable_can_stand_in_a_file_and_nothing_else() {
        let definition = cli::definition();
        let options = definition.get_subcommands().flat_map(clap::Command::get_arguments);
        let with_variable = options.filter_map(clap::Arg::get_long).filter(|long| cli::has_variable(long));
        let expected: BTreeSet<&str> = with_variable.filter(|long| !CHOOSING_FILES.contains(long)).collect();
        let known: BTreeSet<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
        let known: BTreeSet<&str> = known.difference(&WITHOUT_OPTION.iter().copied().collect()).copied().collect();
        assert_eq!(known, expected, "SETTINGS in settings/options.rs and the options of cli.rs");
    }

    #[test]
    fn switches_numbers_and_durations_are_what_the_help_says_they_are() {
        let definition = cli::definition();
        for arg in definition.get_subcommands().flat_map(clap::Command::get_arguments) {
            let Some(setting) = arg.get_long().and_then(by_key) else { continue };
            let value = arg.get_value_names().and_then(<[_]>::first).map(|name| name.to_string());
            let takes_value = arg.get_action().takes_values();
            match setting.kind {
                Kind::Switch => assert!(!takes_value, "{}", setting.key),
                Kind::Duration => assert_eq!(value.as_deref(), Some("DURATION"), "{}", setting.key),
                Kind::Number => assert_eq!(value.as_deref(), Some("N"), "{}", setting.key),
                Kind::Text | Kind::List | Kind::Path | Kind::Secret => assert!(takes_value, "{}", setting.key),
            }
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        for (typed, meant) in [
            ("tll", "ttl"),
            ("max_runtime", "max-runtime"),
            ("MaxRuntime", "max-runtime"),
            ("redis-url", "redis"),
            ("zookeeper", "zk"),
            ("slot", "slots"),
        ] {
            assert_eq!(nearest(typed), meant, "{typed}");
        }
    }
}
