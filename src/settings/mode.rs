//! How holders share the lock.

use super::Deployment;
use super::contest::exclusive;
use super::source::{Environment, Level, Stated, switch_at, text_at};
use crate::backend::Target;
use crate::cli;
use crate::error::Error;
use crate::lock::Mode;

/// {-x, -s, --slots} is one setting: the highest level that names one of them decides.
///
/// # Errors
/// When two stand on one level, N is no number of slots, or the backend has no such mode. That is an error from the
/// environment and from files too: another mode in its place would let others in, or keep them out.
pub(super) fn mode(typed: &cli::Sharing, environment: &Environment, deployment: &Deployment) -> Result<Mode, Error> {
    for level in Level::ALL {
        let alone = switch_at(level, typed.exclusive, "exclusive", environment)?;
        let shared = switch_at(level, typed.shared, "shared", environment)?;
        let slots = text_at(level, typed.slots.as_ref(), "slots", environment)?;
        let named = [(alone == Some(true), "exclusive"), (shared == Some(true), "shared"), (slots.is_some(), "slots")];
        let mut named = named.into_iter().filter_map(|(is_named, long)| is_named.then_some(long));
        if let (Some(one), Some(other)) = (named.next(), named.next()) {
            return Err(exclusive(environment, level, one, other));
        }
        let (mode, long) = match (slots, alone, shared) {
            (Some(slots), _, _) => (Mode::Slots(total(&slots)?), "slots"),
            (None, _, Some(true)) => (Mode::Shared, "shared"),
            (None, None | Some(false), None) => continue,
            (None, _, _) => return Ok(Mode::Exclusive),
        };
        return supported(mode, deployment, level, &environment.name_at(level, long));
    }
    Ok(Mode::Exclusive)
}

/// `status` needs a mode for its verdict alone.
///
/// # Errors
/// When somebody typed one all the same.
pub(super) fn refuse_idle_flags(typed: &cli::Sharing) -> Result<(), Error> {
    let flags = [(typed.exclusive, "-x"), (typed.shared, "-s"), (typed.slots.is_some(), "--slots")];
    match flags.into_iter().find(|(is_given, _)| *is_given) {
        Some((_, flag)) => Err(Error::usage(format!("status takes {flag} only together with --exit-code"))),
        None => Ok(()),
    }
}

fn total(stated: &Stated<String>) -> Result<u32, Error> {
    // `u32::from_str` takes a plus sign; nobody types one on purpose.
    let is_number = stated.value.bytes().all(|byte| byte.is_ascii_digit());
    let total = stated.value.parse().ok().filter(|total| is_number && *total > 0);
    total.ok_or_else(|| stated.invalid(format!("slots are a whole number from 1 to {}", u32::MAX)))
}

fn supported(mode: Mode, deployment: &Deployment, level: Level, name: &str) -> Result<Mode, Error> {
    for target in deployment.target.each() {
        supported_at(target, mode, level, name)?;
    }
    Ok(mode)
}

fn supported_at(target: &Target, mode: Mode, level: Level, name: &str) -> Result<(), Error> {
    if matches!(target, Target::RedisMasters(_)) {
        return Err(level.error(format!(
            "{name} needs one server that counts the holders; several independent masters can only be held exclusively"
        )));
    }
    if let Target::RedisLayout(_, layout) = target {
        let layout = layout.name();
        return Err(level.error(format!(
            "{name} does not go with --layout {layout}, which knows one holder only; use dlock's own layout"
        )));
    }
    if let Target::ZooKeeper(config) = target
        && !config.family.has(mode)
    {
        let layout = config.family.layout();
        return Err(level.error(format!(
            "{name} does not go with --layout {layout}, whose library counts no slots in the same place; use dlock's own \
             layout, or --shared"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided_on(url: &str, typed: &cli::Sharing, variables: &[(&str, &str)]) -> Result<Mode, String> {
        let deployment = Deployment::on_redis(url);
        mode(typed, &Environment::of(variables), &deployment).map_err(|error| error.to_string())
    }

    fn decided(typed: &cli::Sharing, variables: &[(&str, &str)]) -> Result<Mode, String> {
        decided_on("redis://r1", typed, variables)
    }

    fn nothing() -> cli::Sharing {
        cli::Sharing::default()
    }

    fn slots(total: &str) -> cli::Sharing {
        cli::Sharing { slots: Some(total.to_owned()), ..nothing() }
    }

    #[test]
    fn without_a_word_nobody_else_holds_it() {
        assert_eq!(decided(&nothing(), &[]), Ok(Mode::Exclusive));
    }

    #[test]
    fn two_modes_exclude_each_other_on_one_level() {
        let both = cli::Sharing { shared: true, ..slots("3") };
        assert_eq!(decided(&both, &[]), Err("--shared and --slots exclude each other".into()));
        let both = cli::Sharing { exclusive: true, shared: true, slots: None };
        assert_eq!(decided(&both, &[]), Err("--exclusive and --shared exclude each other".into()));
        let both = [("DLOCK_EXCLUSIVE", "1"), ("DLOCK_SLOTS", "3")];
        assert_eq!(decided(&nothing(), &both), Err("DLOCK_EXCLUSIVE and DLOCK_SLOTS exclude each other".into()));
        assert_eq!(decided(&nothing(), &[("DLOCK_SHARED", "no"), ("DLOCK_SLOTS", "3")]), Ok(Mode::Slots(3)));
    }

    #[test]
    fn the_highest_level_that_names_a_mode_decides() {
        let alone = cli::Sharing { exclusive: true, ..nothing() };
        assert_eq!(decided(&alone, &[("DLOCK_SHARED", "1")]), Ok(Mode::Exclusive));
        assert_eq!(decided(&slots("2"), &[("DLOCK_SHARED", "perhaps")]), Ok(Mode::Slots(2)));
        assert_eq!(decided(&nothing(), &[("DLOCK_SHARED", "1")]), Ok(Mode::Shared));
        assert_eq!(decided(&nothing(), &[("DLOCK_SHARED", "0")]), Ok(Mode::Exclusive));
    }

    #[test]
    fn slots_are_counted_in_whole_numbers_from_one_on() {
        assert_eq!(decided(&slots("4294967295"), &[]), Ok(Mode::Slots(u32::MAX)));
        for wrong in ["0", "-1", "+1", "1.5", "4294967296", "many", ""] {
            let sentence = decided(&slots(wrong), &[]).expect_err(wrong);
            let expected = format!("invalid --slots {wrong:?}: slots are a whole number from 1 to 4294967295");
            assert_eq!(sentence, expected);
        }
    }

    #[test]
    fn a_layout_without_the_mode_refuses_it_wherever_it_was_named() {
        let decided_in = |layout: &str, typed: &cli::Sharing, variables: &[(&str, &str)]| {
            let deployment = Deployment::on_zookeeper(layout);
            mode(typed, &Environment::of(variables), &deployment).map_err(|error| error.to_string())
        };
        for layout in ["curator-rw", "kazoo"] {
            let sentence = decided_in(layout, &slots("3"), &[]).expect_err("no such mode");
            assert!(sentence.starts_with(&format!("--slots does not go with --layout {layout}, ")), "{sentence}");
            let sentence = decided_in(layout, &nothing(), &[("DLOCK_SLOTS", "3")]).expect_err("no such mode");
            assert!(sentence.starts_with("DLOCK_SLOTS does not go with"), "{sentence}");
            let shared = cli::Sharing { shared: true, ..nothing() };
            assert_eq!(decided_in(layout, &shared, &[("DLOCK_SLOTS", "3")]), Ok(Mode::Shared));
        }
        assert_eq!(decided_in("dlock", &slots("3"), &[]), Ok(Mode::Slots(3)));
    }
}
