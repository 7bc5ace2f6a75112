//! The families of recipes whose names dlock can speak. What breaks it: two families in one directory, which do not see
//! each other.

use uuid::Uuid;

use crate::lock::Mode;

/// Whose names the contenders of a key have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// dlock's own, which `InterProcessMutex` of Curator and everybody else who looks for `lock-` share.
    Dlock,
    /// `InterProcessReadWriteLock` of Curator.
    CuratorReadWrite,
    /// `Lock`, `ReadLock` and `WriteLock` of kazoo.
    Kazoo,
}

/// Every name of the first family has this text before its sequence number.
const LOCK: &str = "lock-";
const CURATORS_READ: &str = "__READ__";
const CURATORS_WRITE: &str = "__WRIT__";
const KAZOOS_READ: &str = "__rlock__";
const KAZOOS_LOCK: &str = "__lock__";

impl Family {
    pub const ALL: [Self; 3] = [Self::Dlock, Self::CuratorReadWrite, Self::Kazoo];

    /// As users write it.
    #[must_use]
    pub fn layout(self) -> &'static str {
        match self {
            Self::Dlock => "dlock",
            Self::CuratorReadWrite => "curator-rw",
            Self::Kazoo => "kazoo",
        }
    }

    /// Whether the family has names for contenders of `mode`.
    #[must_use]
    pub fn has(self, mode: Mode) -> bool {
        self == Self::Dlock || !matches!(mode, Mode::Slots(_))
    }

    /// The name that a contender creates; ZooKeeper appends the sequence number. `None` for a mode that the family does
    /// not have.
    #[must_use]
    pub fn label(self, guid: Uuid, mode: Mode) -> Option<String> {
        let (hyphenated, simple) = (guid.hyphenated(), guid.simple());
        Some(match (self, mode) {
            (Self::Dlock, Mode::Exclusive) => format!("_c_{hyphenated}-{LOCK}"),
            (Self::Dlock, Mode::Shared) => format!("_c_{hyphenated}-shared-{LOCK}"),
            (Self::Dlock, Mode::Slots(total)) => format!("_c_{hyphenated}-slots{total}-{LOCK}"),
            (Self::CuratorReadWrite, Mode::Exclusive) => format!("_c_{hyphenated}-{CURATORS_WRITE}"),
            (Self::CuratorReadWrite, Mode::Shared) => format!("_c_{hyphenated}-{CURATORS_READ}"),
            (Self::Kazoo, Mode::Exclusive) => format!("{simple}{KAZOOS_LOCK}"),
            (Self::Kazoo, Mode::Shared) => format!("{simple}{KAZOOS_READ}"),
            (Self::CuratorReadWrite | Self::Kazoo, Mode::Slots(_)) => return None,
        })
    }

    /// What a name tells of its contender, or `None` when it is of another family.
    pub(super) fn read(self, name: &str) -> Option<(&str, Mode)> {
        let split_at_last = |mark: &str| name.rfind(mark).map(|at| (&name[..at], &name[at + mark.len()..]));
        match self {
            Self::Dlock => split_at_last(LOCK).map(|(before, rank)| (rank, mode_before_lock(before))),
            // Curator's readers look for the writers' mark first.
            Self::CuratorReadWrite => split_at_last(CURATORS_WRITE)
                .map(|(_, rank)| (rank, Mode::Exclusive))
                .or_else(|| split_at_last(CURATORS_READ).map(|(_, rank)| (rank, Mode::Shared))),
            Self::Kazoo => split_at_last(KAZOOS_LOCK)
                .map(|(_, rank)| (rank, Mode::Exclusive))
                .or_else(|| split_at_last(KAZOOS_READ).map(|(_, rank)| (rank, Mode::Shared)))
                .filter(|(rank, _)| is_kazoos_number(rank)),
        }
    }

    /// The family that a name is of, if it is any of these.
    pub(super) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.read(name).is_some())
    }

    /// What the names of the family have in common, for messages.
    pub(super) fn marks(self) -> &'static str {
        match self {
            Self::Dlock => r#""lock-""#,
            Self::CuratorReadWrite => r#""__READ__" or "__WRIT__""#,
            Self::Kazoo => r#""__lock__" or "__rlock__" and ten digits"#,
        }
    }

    /// Whether a directory may go by itself when it is empty. kazoo makes sure of the path once for each lock object, and
    /// does not recover when it is gone later.
    pub(super) fn recreates_directories(self) -> bool {
        self != Self::Kazoo
    }
}

/// kazoo sees only names that end in this; others would stand beside its contenders unseen.
fn is_kazoos_number(rank: &str) -> bool {
    let digits = rank.strip_prefix('-').unwrap_or(rank);
    digits.len() == 10 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Only what stands behind Curator's mark is dlock's; everything else is exclusive.
fn mode_before_lock(before: &str) -> Mode {
    let Some(before) = before.strip_suffix('-').filter(|before| before.starts_with("_c_")) else {
        return Mode::Exclusive;
    };
    if before.ends_with("-shared") {
        return Mode::Shared;
    }
    let slots = before.rsplit_once("-slots").map(|(_, digits)| digits).filter(|digits| !digits.starts_with('0'));
    slots
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .map_or(Mode::Exclusive, Mode::Slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "6e2f6d9c-3b0a-4f5e-9d0a-0c8e1b2a3f4d";

    fn guid() -> Uuid {
        GUID.parse().expect("a GUID")
    }

    fn read(family: Family, name: &str) -> Option<(String, Mode)> {
        family.read(name).map(|(rank, mode)| (rank.to_owned(), mode))
    }

    #[test]
    fn the_name_tells_the_mode() {
        for (middle, mode) in [
            ("", Mode::Exclusive),
            ("shared-", Mode::Shared),
            ("slots3-", Mode::Slots(3)),
            ("slots4294967295-", Mode::Slots(u32::MAX)),
            ("slots4294967296-", Mode::Exclusive),
            ("slots03-", Mode::Exclusive),
            ("slots-", Mode::Exclusive),
            ("read-", Mode::Exclusive),
        ] {
            let name = format!("_c_{GUID}-{middle}lock-0000000007");
            assert_eq!(read(Family::Dlock, &name), Some(("0000000007".into(), mode)), "{middle}");
        }
        let theirs = read(Family::Dlock, "somebody-shared-lock-0000000007");
        assert_eq!(theirs, Some(("0000000007".into(), Mode::Exclusive)), "only with Curator's mark");
    }

    #[test]
    fn a_family_reads_what_it_writes_and_nobody_elses_names() {
        for family in Family::ALL {
            for mode in [Mode::Exclusive, Mode::Shared, Mode::Slots(7)] {
                let Some(label) = family.label(guid(), mode) else {
                    assert!(!family.has(mode), "{family:?} {mode}");
                    continue;
                };
                let name = format!("{label}0000000012");
                assert_eq!(read(family, &name), Some(("0000000012".into(), mode)), "{name}");
                assert_eq!(Family::of(&name), Some(family), "{name}");
                for other in Family::ALL.into_iter().filter(|other| *other != family) {
                    assert_eq!(read(other, &name), None, "{name} is no name of {other:?}");
                }
            }
        }
    }

    #[test]
    fn a_curator_reader_under_its_own_write_lock_stands_right_behind_it() {
        let read = |name| read(Family::CuratorReadWrite, name).expect("a name of the family");
        let (writer, reader, next) = (
            read("_c_x-__WRIT__0000000003"),
            read("_c_y-__READ__00000000030000000004"),
            read("_c_z-__WRIT__0000000005"),
        );
        assert!(writer.0 < reader.0 && reader.0 < next.0);
        assert_eq!(reader.1, Mode::Shared);
    }

    #[test]
    fn a_name_that_kazoo_does_not_see_is_none_of_its_family() {
        for name in ["x__lock__1", "x__lock__00000000011", "x__rlock__", "x__lock__000000000a", "x__lock__0000000001~"]
        {
            assert_eq!(read(Family::Kazoo, name), None, "{name}");
        }
        assert_eq!(read(Family::Kazoo, "x__lock__-000000012"), None);
        assert!(read(Family::Kazoo, "x__lock__-2147483648").is_some());
    }
}
