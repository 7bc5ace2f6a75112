//! A program that cannot be started until the gate is opened: a job is caught between its grant and its exec.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use tempfile::TempDir;

use super::executable::install_program;
use super::waiting::A_WHILE;

/// Takes a write lease on the file: the kernel lets nobody open it, an exec included, until the lease is given up, and
/// tells the owner that somebody wants to. (F_SETLEASE is 1024, F_WRLCK 1, F_UNLCK 2.) Perl is on every Debian.
const TAKE_LEASE: &str = r#"
$SIG{IO} = sub { syswrite(STDOUT, "reached\n") };
open(my $file, "<", $ARGV[0]) or die "open: $!";
fcntl($file, 1024, 1) or die "lease: $!";
syswrite(STDOUT, "closed\n");
my $line;
while (!defined sysread(STDIN, $line, 1)) {}
fcntl($file, 1024, 2);
close($file);
syswrite(STDOUT, "open\n");
"#;

/// A copy of a program behind a gate that is closed at first. The kernel opens it by force after 45 s
/// (`fs.lease-break-time`).
#[derive(Debug)]
pub(crate) struct ExecGate {
    keeper: Child,
    orders: Option<ChildStdin>,
    news: Receiver<String>,
    _directory: TempDir,
    pub(crate) program: PathBuf,
}

impl ExecGate {
    pub(crate) fn before(program: &str) -> Self {
        let directory = TempDir::with_prefix("dlock-gate-").expect("the temporary directory takes files");
        let copy = directory.path().join("gated");
        install_program(Path::new(program), &copy);
        let mut keeper = Command::new("perl")
            .args(["-e", TAKE_LEASE])
            .arg(&copy)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("perl is installed");
        let said = BufReader::new(keeper.stdout.take().expect("it is piped"));
        let (tell, news) = channel();
        std::thread::spawn(move || said.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let orders = keeper.stdin.take();
        let gate = Self { keeper, orders, news, _directory: directory, program: copy };
        gate.says("closed");
        gate
    }

    /// Waits until somebody stands before the gate.
    #[track_caller]
    pub(crate) fn is_reached(&self) {
        self.says("reached");
    }

    /// Whoever stands before it goes on.
    #[track_caller]
    pub(crate) fn open(&mut self) {
        if let Some(mut orders) = self.orders.take() {
            orders.write_all(b"o").expect("the gate's keeper lives");
            self.says("open");
        }
    }

    #[track_caller]
    fn says(&self, word: &str) {
        match self.news.recv_timeout(A_WHILE) {
            Ok(said) => assert_eq!(said, word),
            Err(error) => panic!("the gate did not say {word:?}: {error}"),
        }
    }
}

impl Drop for ExecGate {
    fn drop(&mut self) {
        self.orders.take();
        self.keeper.kill().ok();
        self.keeper.wait().ok();
    }
}
