//! What is written is read again, whatever stands in the file.

use super::*;
use proptest::prelude::*;

const BOOT: &str = "5a1f0c7e-1111-4222-8333-444455556666";

fn at(nanos: u64) -> BootInstant {
    BootInstant::from_nanos(nanos)
}

fn one_shot(end: u64) -> Record {
    Record {
        fence: 7,
        phase: WrittenPhase::OneShot,
        boot: Some(BOOT.to_owned()),
        end_boot_ns: Some(end),
        ..Record::default()
    }
}

/// The file after each record was written in turn.
fn written(records: &[Record]) -> Vec<u8> {
    let mut file = vec![0; RECORDS_LEN];
    let mut current = Current::read(&file).expect("an empty file is new");
    for record in records {
        let (bytes, at) = current.replace(record.clone());
        file[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    file
}

fn texts() -> impl Strategy<Value = Option<String>> {
    prop::option::of(prop::collection::vec(any::<char>(), 0..300).prop_map(String::from_iter))
}

prop_compose! {
    fn holders()(host in texts(), user in texts(), command in texts(), label in texts(), pid: Option<u32>) -> Holder {
        Holder { host, pid, user, command, label }
    }
}

prop_compose! {
    fn records()(
        fence: u64,
        holder in holders(),
        times: (Option<u64>, Option<u64>, Option<u64>),
        with_key: bool,
        phase in prop::sample::select(vec![WrittenPhase::Running, WrittenPhase::OneShot, WrittenPhase::Free]),
    ) -> Record {
        Record {
            fence, holder, phase,
            token: Some("f".repeat(OwnerToken::LEN)),
            boot: Some(BOOT.to_owned()),
            since_us: times.0,
            end_boot_ns: times.1,
            ttl_ms: times.2,
            key_hex: with_key.then(|| "0a".repeat(MAX_KEY_BYTES)),
            ..Record::default()
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_last_is_what_is_read(all in prop::collection::vec(records(), 1..5)) {
        let read = Current::read(&written(&all)).expect("just written").record;
        let last = all.last().expect("at least one").clone();
        prop_assert_eq!(read.holder.pid, last.holder.pid);
        prop_assert_eq!(Record { holder: Holder::default(), ..read }, Record { holder: Holder::default(), ..last });
    }

    #[test]
    fn a_write_that_stops_half_way_leaves_the_record_before_it(
        first in records(), second in records(), share in 0.0..1.0f64,
    ) {
        let mut file = written(std::slice::from_ref(&first));
        let before = Current::read(&file).expect("just written");
        let (bytes, at) = before.clone().replace(second);
        let done = (bytes.len() as f64 * share) as usize;
        file[at..at + done].copy_from_slice(&bytes[..done]);
        prop_assert_eq!(Current::read(&file), Ok(before));
    }

    /// A machine that goes down may have written any of the blocks, in any order.
    #[test]
    fn a_write_of_which_any_blocks_arrive_leaves_the_record_before_it_or_itself(
        earlier in records(), first in records(), second in records(),
        arrived in prop::collection::vec(any::<bool>(), RECORDS_LEN / 512),
    ) {
        let mut file = written(&[earlier, first]);
        let before = Current::read(&file).expect("just written");
        let mut after = before.clone();
        let (bytes, at) = after.replace(second);
        for (block, new) in bytes.chunks(512).enumerate().filter(|(block, _)| arrived[*block]) {
            let begin = at + block * 512;
            file[begin..begin + new.len()].copy_from_slice(new);
        }
        let read = Current::read(&file);
        prop_assert!(read == Ok(before) || read == Ok(after), "{read:?}");
    }

    #[test]
    fn a_flipped_bit_in_the_only_record_is_noticed(record in records(), byte: prop::sample::Index, bit in 0..8u32) {
        let mut file = written(std::slice::from_ref(&record));
        let used = file.iter().rposition(|byte| *byte != 0).expect("something is written") + 1;
        file[byte.index(used)] ^= 1 << bit;
        prop_assert_eq!(Current::read(&file), Err(Corrupt));
    }

    #[test]
    fn no_bytes_are_taken_for_a_record_or_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 1..RECORDS_LEN)) {
        prop_assume!(bytes.iter().any(|byte| *byte != 0));
        prop_assert_eq!(Current::read(&bytes), Err(Corrupt));
        prop_assert_eq!(Entry::read(&bytes), None);
    }

    #[test]
    fn any_text_of_a_later_version_is_read_and_can_be_written_again(
        fence: u64, text in prop::collection::vec(any::<char>(), 0..300).prop_map(String::from_iter),
    ) {
        let body = serde_json::json!({
            "fence": fence, "phase": "of-later", "mode": text, "token": text, "boot": text, "unknown": [text],
        });
        let mut file = seal(9, body.to_string().as_bytes());
        prop_assume!(file.len() <= SLOT_LEN);
        file.resize(RECORDS_LEN, 0);
        let mut current = Current::read(&file).expect("sealed as it should be");
        prop_assert_eq!((current.record.fence, current.record.phase), (fence, WrittenPhase::Unknown));
        let record = current.record.clone();
        prop_assert!(current.replace(record).0.len() <= SLOT_LEN);
    }

    #[test]
    fn an_entry_fits_its_place_and_keeps_what_is_short(holder in holders(), since: u64) {
        let entry = Entry {
            role: Role::Waiter,
            id: Some("0123abcd".to_owned()),
            since_us: Some(since),
            since_boot_ns: Some(since),
            holder,
            ..Entry::default()
        };
        let bytes = entry.to_bytes();
        prop_assert!(bytes.len() <= ENTRY_LEN);
        let read = Entry::read(&bytes).expect("just written");
        prop_assert_eq!((read.role, read.holder.pid), (Role::Waiter, entry.holder.pid));
    }

    #[test]
    fn fences_rise_whatever_the_clock_does(last in 0..u64::MAX, wall_us: u64) {
        prop_assert!(next_fence(last, wall_us) > last);
        prop_assert!(next_fence(last, wall_us) >= wall_us);
    }
}

#[test]
fn a_fence_rises_by_one_when_the_clock_was_set_back() {
    assert_eq!(next_fence(1_000_000, 5), 1_000_001);
    assert_eq!(next_fence(1_000_000, 2_000_000), 2_000_000);
}

#[test]
fn the_bytes_are_those_of_the_protocol() {
    let (bytes, at) = Current::read(&[]).expect("empty is new").replace(Record { fence: 5, ..Record::default() });
    assert_eq!(at, 0);
    // printf 'dlock 1 0000000000000001 001a {"fence":5,"phase":"free"}' | sha256sum | cut -c1-16
    let line = "dlock 1 0000000000000001 001a 16c27ed4ea66a8b5\n";
    assert_eq!(String::from_utf8(bytes).expect("ASCII"), format!("{line}{{\"fence\":5,\"phase\":\"free\"}}"));
}

#[test]
fn a_lease_of_this_boot_holds_until_its_end_and_one_of_another_boot_is_void() {
    assert_eq!(one_shot(100).standing(BOOT, at(99)), Standing::Until(at(100)));
    assert_eq!(one_shot(100).standing(BOOT, at(100)), Standing::Kernel);
    assert_eq!(one_shot(100).standing("another boot", at(99)), Standing::Kernel);
}

#[test]
fn an_end_holds_whatever_a_later_version_calls_the_phase() {
    for phase in [WrittenPhase::HeldAtLeast, WrittenPhase::LockDelay, WrittenPhase::Group, WrittenPhase::Unknown] {
        let record = Record { phase, ..one_shot(100) };
        assert_eq!(record.standing(BOOT, at(99)), Standing::Until(at(100)));
    }
}

#[test]
fn a_running_record_that_nobody_cleared_holds_only_for_its_lock_delay() {
    let running = Record { phase: WrittenPhase::Running, end_boot_ns: None, ..one_shot(0) };
    assert_eq!(running.standing(BOOT, at(99)), Standing::Kernel);
    let delayed = Record { lock_delay_ms: Some(1500), ..running };
    assert_eq!(delayed.standing(BOOT, at(99)), Standing::Delayed(Duration::from_millis(1500)));
    assert_eq!(delayed.standing("another boot", at(99)), Standing::Kernel);
    assert_eq!(delayed.delayed(at(200)).standing(BOOT, at(99)), Standing::Until(at(200)));
    assert_eq!(delayed.delayed(at(200)).standing(BOOT, at(200)), Standing::Kernel);
    assert_eq!(delayed.free().standing(BOOT, at(99)), Standing::Kernel);
}

#[test]
fn a_release_before_its_minimum_time_leaves_the_key_held_until_then() {
    let now = |nanos| Now { boot_id: BOOT.to_owned(), boottime: at(nanos) };
    let record = Record { hold_until_boot_ns: Some(50), ..one_shot(100) };
    let kept = record.left_by(Parting::Done, &now(49));
    assert_eq!((kept.phase, kept.standing(BOOT, at(49))), (WrittenPhase::HeldAtLeast, Standing::Until(at(50))));
    assert_eq!(record.left_by(Parting::Done, &now(50)), Record { fence: 7, ..Record::default() });
    assert_eq!(one_shot(100).left_by(Parting::Done, &now(49)), Record { fence: 7, ..Record::default() });
}

#[test]
fn shared_and_slots_of_a_later_version_are_shown_as_such() {
    let sharing = |text| serde_json::from_str::<Record>(text).expect("a record").sharing.mode();
    assert_eq!(sharing(r#"{"phase":"group","mode":"shared"}"#), Mode::Shared);
    assert_eq!(sharing(r#"{"phase":"group","mode":"slots","slots":3}"#), Mode::Slots(3));
    assert_eq!(sharing(r#"{"phase":"running"}"#), Mode::Exclusive);
}

#[test]
fn a_whole_key_comes_back_from_its_digits() {
    let key = LockKey::new("ü/\u{1}x").expect("a valid key");
    let record = Record { key_hex: Some(key_hex(&key)), ..Record::default() };
    assert_eq!(record.whole_key(), Some(key));
    let broken = Record { key_hex: Some("zz".to_owned()), ..Record::default() };
    assert_eq!(broken.whole_key(), None);
}
