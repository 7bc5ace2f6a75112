//! The command finds what it would have found without dlock: its view of itself is taken twice, from the same odd
//! surroundings, and compared.

mod activation;
mod odd_commands;

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd as _;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::support::{Dlock, MARK, Place, Pty, program, sentences_for_every_backend};

sentences_for_every_backend![
    the_view_from_plain_surroundings_is_the_same,
    ignored_and_blocked_signals_are_the_same,
    limits_priorities_and_privileges_are_the_same,
    inherited_descriptors_are_the_same_and_no_other_is_there,
    a_closed_standard_descriptor_is_found_closed,
    group_session_and_terminal_are_the_same,
];

/// Notes its pid in the first argument, makes its surroundings odd as it is told, and becomes the other arguments.
const HARNESS: &str = r#"
use POSIX; $^F = 1000; my $out = shift;
open(my $pid, '>', "$out.pid") or die $!; print $pid $$; close $pid;
sub ignore { POSIX::sigaction($_, POSIX::SigAction->new('IGNORE')) or die $! for @_ }
sub at { my ($number, $how, $name) = @_; open(my $file, $how, $name) or die $!; POSIX::dup2(fileno $file, $number);
    fcntl($file, 2, 1); open(my $same, "<&=$number"); fcntl($same, 2, 0); push @kept, $file, $same }
SURROUNDINGS;
exec { $ARGV[0] } @ARGV or die $!;
"#;

/// Writes, a line each, what a process can know of itself to the file in its argument.
const VIEW: &str = r#"
my ($out, @view) = shift;
sub slurp { open my $file, '<', $_[0] or return "cannot be read: $!"; local $/; my $text = <$file>; $text }
opendir my $descriptors, '/proc/self/fd' or die $!;
for my $number (readdir $descriptors) {
    my $target = readlink "/proc/self/fd/$number";
    next if $number !~ /\d/ or $target =~ m{^/proc/\d+/fd$};
    my ($flags) = slurp("/proc/self/fdinfo/$number") =~ /^flags:\s*(\d+)/m;
    push @view, "descriptor $number: $target $flags";
}
my $status = slurp('/proc/self/status');
push @view, "status $1" while $status =~ /^((?:Umask|Uid|Gid|Groups|Sig(?:Pnd|Blk|Ign|Cgt)|ShdPnd|Cap\w+|NoNewPrivs|Seccomp
    |Cpus_allowed|THP_enabled|Threads|CoreDumping):.*)$/mgx;
my @stat = split ' ', slurp('/proc/self/stat') =~ s/^.*\)//sr;
push @view, "group: $stat[2]", "session: $stat[3]", "terminal: $stat[4]", "foreground: $stat[5]";
push @view, "priority: $stat[15]", "nice: $stat[16]", "realtime: $stat[37]", "policy: $stat[38]";
for my $name (qw(oom_score_adj timerslack_ns personality coredump_filter cgroup cmdline comm setgroups loginuid)) {
    push @view, "$name: " . slurp("/proc/self/$name") =~ tr/\0\n/ /r;
}
push @view, "limit $_" for grep /\S/, split /\n/, slurp('/proc/self/limits');
push @view, "$_: " . readlink "/proc/self/$_" for qw(cwd root exe ns/pid ns/mnt ns/net ns/user);
my $place = 0;
push @view, 'environment ' . s/=/: /r for split /\0/, slurp('/proc/self/environ') =~ tr/\n/ /r;
push @view, "child ignored: $SIG{CHLD}", "as given: $0 @ARGV";
open my $file, '>', $out or die $!; print $file map "$_\n", @view; close $file;
"#;

/// What `product.md` lets differ beside the variables: nothing of what [`VIEW`] tells.
#[track_caller]
fn assert_same_view(place: &Place, what: &str, surroundings: &str, wrapper: &[&str]) {
    assert_same_view_of(place, what, surroundings, wrapper, |call| call);
}

#[track_caller]
fn assert_same_view_of(
    place: &Place,
    what: &str,
    surroundings: &str,
    wrapper: &[&str],
    prepare: impl Fn(Dlock) -> Dlock,
) {
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let out = directory.path().join("view");
    let out_text = out.to_str().expect("temporary directories have plain names");
    let harness = HARNESS.replace("SURROUNDINGS", surroundings);
    let command = ["perl", "-e", VIEW, out_text, "*", ""];
    let options = place.options();
    let dlock: Vec<&str> = [program(), "run"].into_iter().chain(options.iter().map(String::as_str)).collect();
    let look = |under: &[&str]| {
        let words = [&["-e", &harness, out_text], wrapper, under, &command].concat();
        let output = |name: &str| fs::File::create(directory.path().join(name)).expect("a directory of our own");
        let call = Dlock::of_program("perl".as_ref(), words).env("HOME", "/").cwd(directory.path());
        let call = prepare(call.stdout_to(output("stdout")).stderr_to(output("stderr")));
        let status = call.finish().status;
        let said = fs::read_to_string(directory.path().join("stderr")).expect("it was just made");
        assert!(status.success() && said.is_empty(), "{what}: {status}: {said}");
        taken(&out)
    };
    let direct = look(&[]);
    let under = look(&[&dlock[..], &["-k", "job", "--"]].concat());
    assert!(direct.len() > 60, "{what}: the view tells something: {direct:#?}");
    let ours = |name: &str| name.strip_prefix("environment DLOCK_").is_some();
    assert!(under.keys().any(|name| ours(name)), "{what}: it was under dlock");
    let names = direct.keys().chain(under.keys().filter(|name| !ours(name)));
    let differences: Vec<String> = names
        .filter(|name| direct.get(*name) != under.get(*name))
        .map(|name| format!("{name}: {:?} became {:?}", direct.get(name), under.get(name)))
        .collect();
    assert!(differences.is_empty(), "{what}\n{}", differences.join("\n"));
}

/// The view in `out`, by name, with the process that was started called so: it is the command, or dlock.
fn taken(out: &Path) -> BTreeMap<String, String> {
    let view = fs::read_to_string(out).expect("the command has left its view");
    let started = fs::read_to_string(out.with_extension("pid")).expect("the harness has left its pid");
    fs::remove_file(out).expect("it is ours");
    let lines = view.lines().filter(|line| !line.contains(MARK)).map(|line| {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        let value = value.trim();
        (name.to_owned(), if value == started { "the process that was started".to_owned() } else { value.to_owned() })
    });
    lines.collect()
}

fn the_view_from_plain_surroundings_is_the_same(place: &Place) {
    assert_same_view(place, "plain", "", &[]);
    assert_same_view(place, "directory and umask", "chdir '/usr/share'; umask 0137", &[]);
}

fn ignored_and_blocked_signals_are_the_same(place: &Place) {
    for (what, surroundings) in [
        ("each signal that nohup and cron know is ignored", "ignore(1, 13)"),
        ("SIGCHLD is ignored", "ignore(17)"),
        ("all that can be ignored is", "ignore(grep { $_ != 9 and $_ != 19 and $_ != 32 and $_ != 33 } 1 .. 64)"),
        ("some are blocked", "sigprocmask(SIG_BLOCK, POSIX::SigSet->new(1, 10, 15, 17, 40))"),
        ("blocked and ignored", "sigprocmask(SIG_BLOCK, POSIX::SigSet->new(13, 17, 64)); ignore(13, 17, 64, 2)"),
        ("all are blocked", "my $all = POSIX::SigSet->new; $all->fillset; sigprocmask(SIG_BLOCK, $all)"),
    ] {
        assert_same_view(place, what, surroundings, &[]);
    }
}

fn limits_priorities_and_privileges_are_the_same(place: &Place) {
    let ulimits = "ulimit -Sn 300; ulimit -Hn 400; ulimit -Ss 4096; ulimit -St 500; ulimit -Ht 600; ulimit -c 0
        ulimit -Sf 1000000; ulimit -Sl 32; exec \"$@\"";
    assert_same_view(place, "limits", "", &["sh", "-c", ulimits, "sh"]);
    assert_same_view(place, "cores", "", &["sh", "-c", "ulimit -c unlimited; exec \"$@\"", "sh"]);
    assert_same_view(place, "nice", "", &["nice", "-n", "7"]);
    assert_same_view(place, "batch", "", &["chrt", "--batch", "0"]);
    assert_same_view(place, "one processor", "", &["taskset", "1"]);
    assert_same_view(place, "personality", "", &["setarch", "-R"]);
    assert_same_view(place, "no new privileges", "", &["setpriv", "--no-new-privs"]);
    let adjusts = "sub put { open my $file, '>', $_[0] or die $!; print $file $_[1]; close $file or die $! }
        put('/proc/self/oom_score_adj', 321); put('/proc/self/timerslack_ns', 77777);
        put('/proc/self/coredump_filter', 0x7b)";
    assert_same_view(place, "adjusted", adjusts, &[]);
}

fn inherited_descriptors_are_the_same_and_no_other_is_there(place: &Place) {
    let odd =
        "at(3, '<', '/dev/null'); at(7, '+<', '/dev/zero'); at(33, '>>', '/dev/null'); at(200, '<', '/etc/passwd');
        mkfifo 'fifo', 0600; at(999, '+<', 'fifo')";
    assert_same_view(place, "odd numbers", odd, &[]);
    let nonblocking = "use Fcntl; fcntl(STDERR, F_SETFL, fcntl(STDERR, F_GETFL, 0) | O_NONBLOCK)";
    assert_same_view(place, "somebody made standard error non-blocking", nonblocking, &[]);
}

fn a_closed_standard_descriptor_is_found_closed(place: &Place) {
    for closed in ["0", "1", "2", "0, 1", "0, 1, 2"] {
        assert_same_view(place, &format!("closed: {closed}"), &format!("POSIX::close($_) for {closed}"), &[]);
    }
    assert_same_view(place, "closed, and one inherited", "POSIX::close(0); at(5, '<', '/dev/null')", &[]);
}

fn group_session_and_terminal_are_the_same(place: &Place) {
    assert_same_view(place, "a group of its own", "setpgid(0, 0)", &[]);
    assert_same_view(place, "a session of its own", "setsid()", &[]);
    let terminal = Pty::open();
    let on_terminal = |call: Dlock| {
        let side = || terminal.programs.try_clone().expect("there are descriptors");
        call.stdin_from(side()).stdout_to(side()).stderr_to(side())
    };
    let take_terminal = "setsid() or die $!; ioctl(STDIN, 0x540E, 1) or die $!";
    assert_same_view_of(place, "a terminal of its own", take_terminal, &[], on_terminal);
    let mut shown = [PollFd::new(terminal.user.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut shown, PollTimeout::ZERO), Ok(0), "nothing was said");
}
