//! One exploration by the model checker: what it has to find, and what it must not.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

/// How far the models go beyond what every run of the tests explores: `DLOCK_MODEL_SIZE`, 0 if unset.
pub(crate) fn size() -> u8 {
    std::env::var("DLOCK_MODEL_SIZE").map_or(0, |size| size.parse().expect("DLOCK_MODEL_SIZE is a small number"))
}

/// Visits every state and asserts every property.
pub(crate) fn holds<M>(name: &str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + std::fmt::Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + std::fmt::Debug + PartialEq + Send,
{
    let began = Instant::now();
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let seconds = began.elapsed().as_secs_f32();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    // For tests/models/README.md: shown by `--nocapture`.
    #[expect(clippy::print_stderr, reason = "what a run of this program tells")]
    {
        eprintln!("{name}: {states} states, {depth} deep, {seconds:.1} s");
    }
    for property in checker.model().properties() {
        let found = checker.discovery(property.name);
        match property.expectation {
            stateright::Expectation::Sometimes => assert!(found.is_some(), "{name}: never {}", property.name),
            _ => {
                if let Some(path) = found {
                    let actions: Vec<_> = path.clone().into_actions();
                    panic!("{name}: not {}:\n{actions:#?}\n{:#?}", property.name, path.last_state());
                }
            }
        }
    }
}

/// Asserts that the checker finds a way to break this property: a model that could not fail would prove nothing.
pub(crate) fn breaks<M>(name: &str, property: &'static str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + std::fmt::Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + std::fmt::Debug + PartialEq + Send,
{
    let wanted = HasDiscoveries::AnyOf([property].into());
    let checker = model.checker().finish_when(wanted).spawn_bfs().join();
    let found = checker.discovery(property);
    assert!(found.is_some(), "{name}: no counter-example to {property:?} in {} states", checker.unique_state_count());
}

/// States from which everybody was seen to get through to a good end.
#[derive(Debug, Default)]
pub(crate) struct Passable(Mutex<HashSet<u64>>);

/// More steps than any way to the end may have.
const PATIENCE: usize = 300;

impl Passable {
    /// Whether the steps that `proceed` takes lead from `state` to an end, and to a good one.
    pub(crate) fn leads_to<S: Hash>(
        &self,
        state: S,
        proceed: impl Fn(&S) -> Option<S>,
        is_good: impl Fn(&S) -> bool,
    ) -> bool {
        let mut way = Vec::new();
        let mut at = state;
        loop {
            let mut hasher = DefaultHasher::new();
            at.hash(&mut hasher);
            let mark = hasher.finish();
            if self.known().contains(&mark) {
                break;
            }
            way.push(mark);
            match proceed(&at) {
                Some(_) if way.len() == PATIENCE => return false,
                Some(next) => at = next,
                None if is_good(&at) => break,
                None => return false,
            }
        }
        self.known().extend(way);
        true
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<u64>> {
        self.0.lock().expect("nobody panics while it is held")
    }
}
