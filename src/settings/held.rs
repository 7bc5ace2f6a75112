//! The locks held above this call, as the variable `DLOCK_HELD` tells them: a line for each, the outermost first.

use std::path::PathBuf;

use super::deployment::Deployment;
use super::source::Environment;
use crate::lock::{LockKey, Mode, OwnerToken};

/// The variable; `run` adds to it what it holds.
pub const HELD: &str = "DLOCK_HELD";

/// The form of the lines; others are of other versions of dlock, and are left alone.
const FORM: &str = "1";

/// One key that a `dlock run` above us holds, in the same place as ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldAbove {
    /// As [`LockKey::encoded`] writes it.
    pub key: String,
    pub mode: Mode,
    pub token: OwnerToken,
    /// The process that holds it.
    pub keeper: i32,
    /// The file that whoever uses the lock from inside has locked, and whose end the holder waits for.
    pub guard: PathBuf,
}

impl HeldAbove {
    /// Whether who holds the lock in our mode may let somebody use it in this one.
    #[must_use]
    pub fn covers(&self, wanted: Mode) -> bool {
        self.mode == Mode::Exclusive || self.mode == wanted
    }

    /// The key itself, unless its name was cut.
    #[must_use]
    pub fn whole_key(&self) -> Option<LockKey> {
        LockKey::decode(&self.key)
    }

    /// The line for the variable.
    #[must_use]
    pub fn line(&self, deployment: &Deployment) -> String {
        let (backend, namespace) = (deployment.backend, deployment.namespace.as_str());
        let Self { key, mode, token, keeper, guard } = self;
        format!("{FORM} {backend} {namespace} {mode} {} {key} {keeper} {}", token.secret(), guard.display())
    }

    fn parse(line: &str, deployment: &Deployment) -> Option<Self> {
        let mut words = line.splitn(8, ' ');
        let mut next = || words.next();
        let is_ours =
            next()? == FORM && next()? == deployment.backend.to_string() && next()? == deployment.namespace.as_str();
        if !is_ours {
            return None;
        }
        Some(Self {
            mode: next()?.parse().ok()?,
            token: OwnerToken::parse(next()?).ok()?,
            key: next()?.to_owned(),
            keeper: next()?.parse().ok().filter(|pid| *pid > 1)?,
            guard: next().map(PathBuf::from).filter(|path| path.is_absolute())?,
        })
    }
}

/// Those of them that are in the place of `deployment`. What no line of ours can be is no lock.
pub(super) fn above(environment: &Environment, deployment: &Deployment) -> Vec<HeldAbove> {
    let Some(lines) = environment.get(HELD).and_then(|lines| lines.to_str()) else { return Vec::new() };
    lines.lines().filter_map(|line| HeldAbove::parse(line, deployment)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> Deployment {
        Deployment::on_redis("redis://r1/")
    }

    fn held(key: &str, mode: Mode) -> HeldAbove {
        HeldAbove {
            key: LockKey::new(key).expect("a key").encoded(),
            mode,
            token: OwnerToken::random(),
            keeper: 17,
            guard: PathBuf::from("/run/lock/dlock-0/%held-x"),
        }
    }

    #[test]
    fn what_a_run_writes_is_what_a_run_inside_reads() {
        let deployment = deployment();
        let all = [held("a b/ä", Mode::Exclusive), held("c", Mode::Shared), held("d", Mode::Slots(3))];
        let lines: Vec<String> = all.iter().map(|held| held.line(&deployment)).collect();
        let environment = Environment::of(&[(HELD, &lines.join("\n"))]);
        assert_eq!(above(&environment, &deployment), all);
        assert_eq!(all[0].whole_key(), LockKey::new("a b/ä").ok());
    }

    #[test]
    fn what_belongs_to_another_place_or_makes_no_sense_is_passed_over() {
        let deployment = deployment();
        let line = held("a", Mode::Exclusive).line(&deployment);
        for other in [
            line.replace("redis", "zk"),
            line.replace(" dlock ", " other "),
            line.replacen('1', "2", 1),
            line.replace(" 17 ", " 0 "),
            line.replace(" /run", " run"),
            line.replace("exclusive", "slots:0"),
            line[..line.len() / 2].to_owned(),
            "nonsense".to_owned(),
        ] {
            assert_eq!(above(&Environment::of(&[(HELD, &other)]), &deployment), [], "{other}");
        }
        assert_eq!(above(&Environment::of(&[(HELD, &format!("x\n{line}\n\n"))]), &deployment).len(), 1);
    }

    #[test]
    fn an_exclusive_lock_covers_every_mode_and_the_others_their_own() {
        let covered = |held_in, wanted| held("a", held_in).covers(wanted);
        for wanted in [Mode::Exclusive, Mode::Shared, Mode::Slots(2)] {
            assert!(covered(Mode::Exclusive, wanted));
            assert_eq!(covered(Mode::Shared, wanted), wanted == Mode::Shared);
            assert_eq!(covered(Mode::Slots(2), wanted), wanted == Mode::Slots(2));
        }
    }
}
