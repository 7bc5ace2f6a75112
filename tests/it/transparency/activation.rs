//! A service manager's variables that name one process by its pid: they name the command, as without dlock.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};

use super::Dlock;
use crate::support::{Kind, Place, compiled, program, within};

/// Serves one connection on the descriptor that was passed, if the variables say that it is meant for this process.
const SERVER: &str = r#"
die "for $ENV{LISTEN_PID}, not $$" if $ENV{LISTEN_PID} != $$ or $ENV{WATCHDOG_PID} != $$;
die "second name: $ENV{LISTEN_PIDFDID}" if exists $ENV{LISTEN_PIDFDID};
die "$ENV{LISTEN_FDS} $ENV{LISTEN_FDNAMES}" if "$ENV{LISTEN_FDS} $ENV{LISTEN_FDNAMES}" ne '1 web';
open my $listener, '+<&=', 3 or die $!;
accept(my $connection, $listener) or die $!;
syswrite $connection, 'served';
"#;

/// Passes standard input on as descriptor 3, to the process that it becomes.
const MANAGER: &str = r#"
use POSIX; $^F = 10; POSIX::dup2(0, 3); open my $three, '+<&=', 3; fcntl($three, 2, 0);
@ENV{qw(LISTEN_FDS LISTEN_FDNAMES LISTEN_PIDFDID WATCHDOG_USEC)} = (1, 'web', 4711, 3000000);
$ENV{LISTEN_PID} = $ENV{WATCHDOG_PID} = $$ + $ENV{BESIDE};
exec { $ARGV[0] } @ARGV or die $!;
"#;

fn dlock_under_the_manager(place: &Place, beside: &str, command: &[&str], socket: TcpListener) -> Dlock {
    let options = place.options();
    let mut words = vec!["-e", MANAGER, program(), "run", "-k", "job"];
    words.extend(options.iter().map(String::as_str));
    words.push("--");
    words.extend(command);
    Dlock::of_program("perl".as_ref(), words).env("BESIDE", beside).stdin_from(std::os::fd::OwnedFd::from(socket))
}

#[test]
fn a_command_under_socket_activation_takes_the_sockets_that_were_passed_to_dlock() {
    for kind in [Kind::File, Kind::Redis, Kind::ZooKeeper] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let place = Place::shared(kind);
        let run = dlock_under_the_manager(&place, "0", &["perl", "-e", SERVER], listener).start();
        let mut said = String::new();
        TcpStream::connect(address).and_then(|mut s| s.read_to_string(&mut said)).expect("the command serves");
        run.wait().succeeds();
        assert_eq!(said, "served");
        within(std::time::Duration::from_secs(2), "nobody keeps the socket", || TcpStream::connect(address).is_err());
    }
}

#[test]
fn variables_that_name_another_process_stay_as_they_are() {
    let place = Place::shared(Kind::File);
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let script = "echo $(($LISTEN_PID - 1)) $(($WATCHDOG_PID - 1)) $LISTEN_PIDFDID; echo $PPID; cat /proc/$PPID/stat";
    let run = dlock_under_the_manager(&place, "1", &["sh", "-c", script], listener).finish().succeeds();
    let front = run.said().lines().last().and_then(|stat| stat.rsplit(") ").next()?.split(' ').nth(1)).expect("a stat");
    assert_eq!(run.said().lines().next(), Some(format!("{front} {front} 4711").as_str()), "{}", run.account());
}

/// An environment is a list of strings, and not every program writes `NAME=value` there.
#[test]
fn entries_that_are_no_variables_or_come_twice_are_handed_on() {
    let place = Place::shared(Kind::File);
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let code = "#include <unistd.h>\nint main(int c, char **v) {
        char *odd[] = {\"word\", \"=x=y\", \"TWICE=1\", \"TWICE=2\", \"\", \"PATH=/usr/bin:/bin\", 0};
        return execve(v[1], v + 1, odd); }";
    let odd = compiled(code, directory.path(), "odd", &[]);
    let options = place.options();
    let mut words = vec![program(), "run", "-k", "job"];
    words.extend(options.iter().map(String::as_str));
    words.extend(["--", "perl", "-0ne", "print \"$_\\n\" if !/^DLOCK_/", "/proc/self/environ"]);
    let run = Dlock::of_program(&odd, words).finish().succeeds();
    let entries: Vec<&str> = run.said().split('\n').map(|entry| entry.trim_end_matches('\0')).collect();
    assert_eq!(entries[..6], ["word", "=x=y", "TWICE=1", "TWICE=2", "", "PATH=/usr/bin:/bin"], "{}", run.account());
}
