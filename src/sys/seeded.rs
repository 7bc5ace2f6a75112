//! Defects that a torture has to find: compiled in by the feature `seeded-defects` alone, which nothing that is installed
//! has. `tests/torture/README.md` lists them.

/// Whether this defect is switched on, by `DLOCK_DEFECT`.
#[cfg(feature = "seeded-defects")]
macro_rules! seeded {
    ($defect:literal) => {
        std::env::var_os("DLOCK_DEFECT").is_some_and(|switched_on| switched_on == $defect)
    };
}

#[cfg(not(feature = "seeded-defects"))]
macro_rules! seeded {
    ($defect:literal) => {
        false
    };
}

pub(crate) use seeded;
