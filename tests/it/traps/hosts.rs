//! The host: a clock that is set, a disk without room.

use std::process::Command;
use std::time::Duration;

use crate::support::{Dlock, Kind, Place, Setting, eventually, program, within};

/// Sets the wall clock on by a microsecond, or back: for those who watch it that is a step like any other. (ADJ_SETOFFSET is
/// 0x100; of `struct timex` all but the time to add is zero.) 159 is adjtimex on x86-64, 171 on arm64.
const SET_THE_CLOCK: &str = r#"
my ($machine, $seconds, $microseconds) = @ARGV;
my $number = { "x86_64" => 159, "aarch64" => 171 }->{$machine} or die "which call?";
my $timex = pack("L x68 q q x120", 0x100, $seconds, $microseconds);
exit(syscall($number, $timex) == -1);
"#;

#[derive(Debug, Clone, Copy)]
enum Step {
    On,
    Back,
}

#[expect(clippy::print_stderr, reason = "what is not tested is said")]
fn set_the_clock(step: Step) -> bool {
    let by = match step {
        Step::On => ["0", "1"],
        Step::Back => ["-1", "999999"],
    };
    let done = Command::new("perl").args(["-e", SET_THE_CLOCK, std::env::consts::ARCH]).args(by).status();
    let may = done.expect("perl is installed").success();
    if !may {
        eprintln!("NOT TESTED, because it needs the right to set the clock: a wall clock that is set");
    }
    may
}

/// A virtual machine that was paused sets its clock first of all, and its timers may be late.
#[test]
fn a_wall_clock_that_is_set_makes_the_holder_renew_at_once() {
    let place = Place::shared(Kind::Redis);
    let call = ["run", "-v", "-k", "job", "--ttl", "90s", "--", "sh", "-c", "echo ready; cat >/dev/null"];
    let run = place.dlock(call).stdin_open().start();
    run.says("ready");
    let watches = || {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fdinfo", run.keeper().pid)).expect("it lives").flatten();
        let told = descriptors.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
        told.filter(|info| info.contains("settime flags: 03")).count() > 0
    };
    eventually("the keeper watches the clock", watches);
    let renewals = || run.stderr().matches("renewed").count();
    let _alone = Setting::the_clock();
    for step in [Step::On, Step::Back] {
        let before = renewals();
        if !set_the_clock(step) {
            break;
        }
        // The next one is due in half a minute.
        within(Duration::from_secs(10), "it is renewed", || renewals() > before);
    }
    run.let_go();
    run.wait().succeeds();
}

/// Nothing is granted that could not be written down, and nothing that was there is lost. In a mount namespace of its own.
#[test]
fn a_disk_without_room_grants_nothing() {
    let script = r#"
        mount -t tmpfs -o size=64k,mode=700 none /mnt || exit 90
        "$0" acquire -b file --dir /mnt -n -k held --ttl 1h >/dev/null || exit 91
        ! dd if=/dev/zero of=/mnt/full bs=4k count=64 2>/dev/null || exit 92
        ran=$("$0" run -b file --dir /mnt -n -k job -- echo it ran); echo "run: $? $ran"
        token=$("$0" acquire -b file --dir /mnt -n -k job --ttl 1h); echo "acquire: $? $token"
        "$0" run -b file --dir /mnt -n -k held -- true; echo "held: $?"
        rm /mnt/full
        "$0" run -b file --dir /mnt -n -k job -- echo it ran"#;
    let namespaces = if nix::unistd::geteuid().is_root() { "-m" } else { "-rm" };
    let call = [namespaces, "sh", "-c", script, program()];
    let ended = Dlock::of_program("unshare".as_ref(), call).finish().succeeds();
    let said: Vec<&str> = ended.said().lines().collect();
    let [run, acquire, held, later] = said[..] else { panic!("four lines: {}", ended.account()) };
    for refused in [run, acquire] {
        let mut words = refused.split(' ');
        let status = words.nth(1).unwrap_or_default();
        assert!(status != "0" && status != "75" && words.collect::<String>().is_empty(), "{}", ended.account());
    }
    assert_eq!((held, later), ("held: 75", "it ran"), "{}", ended.account());
}
