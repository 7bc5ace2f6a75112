//! Where a password must not be found: with `ps`, in `/proc`, in a core file, in what is said, in what is stored.

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;

use nix::sys::signal::Signal;
use zookeeper_client::Client;

use super::{STRANGER, is_root, program_for_all};
use crate::support::{Dlock, Finished, Kind, Place, eventually, program};

const PASSWORD: &str = "s3cret/w0rd";
const ENCODED: &str = "s3cret%2Fw0rd";

/// A server that wants the password.
fn locked() -> Place {
    let place = Place::private(Kind::Redis);
    let () =
        ::redis::cmd("CONFIG").arg(&["SET", "requirepass", PASSWORD]).query(&mut place.redis()).expect("it serves");
    place
}

fn url(place: &Place, credentials: &str) -> String {
    format!("redis://{credentials}127.0.0.1:{}", place.port())
}

fn file(content: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("the temporary directory takes files");
    fs::write(file.path(), content).expect("it is ours");
    file
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[track_caller]
fn hides(bytes: &[u8], what: &str) {
    for secret in [PASSWORD, ENCODED] {
        assert!(!holds(bytes, secret), "{what} shows the password: {}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn a_password_that_was_typed_is_covered_where_ps_looks() {
    let place = locked();
    for typed in [
        vec!["--redis".to_owned(), url(&place, &format!(":{ENCODED}@"))],
        vec![format!("--redis={}", url(&place, &format!(":{ENCODED}@")))],
    ] {
        let words = ["run".to_owned()].into_iter().chain(typed).chain(["-k", "job", "--"].map(str::to_owned));
        let command = ["sh", "-c", "echo ready; cat >/dev/null", "--redis", "redis://:theirs@h"].map(str::to_owned);
        let run = Dlock::new(words.chain(command)).stdin_open().start();
        run.says("ready");
        for process in [run.front(), run.keeper()] {
            let words = fs::read(format!("/proc/{}/cmdline", process.pid)).expect("it lives");
            hides(&words, &process.comm);
        }
        // What is the command's own is passed on as it was.
        let tree = run.tree();
        let command = tree.iter().find(|process| process.comm == "sh").expect("it runs");
        let words = fs::read(format!("/proc/{}/cmdline", command.pid)).expect("it lives");
        assert!(holds(&words, "redis://:theirs@h"), "{}", String::from_utf8_lossy(&words));
        let front = fs::read_to_string(format!("/proc/{}/cmdline", run.front_pid())).expect("it lives");
        assert!(front.contains("redis://:*************@127.0.0.1:"), "{front}");
        run.let_go();
        run.wait().succeeds();
    }
}

#[test]
fn the_command_and_its_users_other_processes_read_neither_the_environment_nor_the_memory_of_dlock() {
    if !is_root() {
        // Of a user's own processes only those of root's can tell the difference by this script.
        return;
    }
    let program = program_for_all();
    let place = locked();
    let look = r#"for name in environ mem maps; do
        for pid in $PPID $(sed 's/.*) . \([0-9]*\) .*/\1/' /proc/$PPID/stat); do
            head -c 1 /proc/$pid/$name >/dev/null 2>&1 && echo "reads $name of $pid"
        done
    done; cat /proc/self/environ; echo; echo looked"#;
    let call = |url: &str, backend: &[&str]| {
        let words = [&["run", "-k", "job"], backend, &["--", "sh", "-c", look]].concat();
        let call = Dlock::of_program(&program.path().join("dlock"), words).by_user(STRANGER).cwd(Path::new("/"));
        if url.is_empty() { call } else { call.env("DLOCK_REDIS", url) }
    };
    let from_environment = call(&url(&place, ""), &[]).env("DLOCK_REDIS_PASSWORD", PASSWORD);
    let from_url = call(&url(&place, &format!(":{ENCODED}@")), &[]);
    for call in [from_environment, from_url] {
        let finished = call.finish().succeeds();
        hides(&finished.stdout, "the command's environment");
        assert!(!finished.said().contains("reads "), "{}", finished.account());
        assert!(finished.said().ends_with("looked"), "{}", finished.account());
    }
    // Without a secret, dlock is a process like others: what was looked at above can be read.
    let place = Place::shared(Kind::File);
    fs::set_permissions(place.dir(), fs::Permissions::from_mode(0o1777)).expect("it is ours");
    let open = call("", &["-b", "file", "--dir", &place.dir_text()]).finish().succeeds();
    assert!(open.said().contains("reads environ of"), "{}", open.account());
}

/// A limit that lets core files be written, in a directory of its own.
fn with_cores(directory: &Path, words: &[&str]) -> Dlock {
    let script = r#"ulimit -c unlimited; exec "$0" "$@""#;
    let words = ["-c", script, program()].into_iter().chain(words.iter().copied());
    Dlock::of_program(Path::new("/bin/sh"), words).cwd(directory)
}

/// What no processor executes.
const NO_INSTRUCTION: &[u8] = if cfg!(target_arch = "x86_64") { &[0x0f, 0x0b] } else { &[0, 0, 0, 0] };

/// Has a process that sleeps in a system call fail as a defect would make it fail: every signal that is only sent is
/// blocked, or passed on.
fn crash(pid: i32) {
    let call = || fs::read_to_string(format!("/proc/{pid}/syscall")).expect("it lives");
    let sleeps_at =
        || call().split_whitespace().last().and_then(|at| u64::from_str_radix(at.strip_prefix("0x")?, 16).ok());
    let mut at = None;
    eventually("it sleeps", || {
        at = sleeps_at();
        at.is_some()
    });
    let memory = fs::OpenOptions::new().write(true).open(format!("/proc/{pid}/mem")).expect("root may");
    memory.write_all_at(NO_INSTRUCTION, at.expect("it was just found")).expect("root may");
}

fn cores(directory: &Path) -> usize {
    fs::read_dir(directory).expect("it is ours").flatten().filter(|entry| entry.path().is_file()).count()
}

#[test]
fn neither_process_leaves_a_core_that_holds_the_password_and_the_command_leaves_its_own() {
    if !is_root() {
        // Nobody else may write to the memory of a process that has closed it.
        return;
    }
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").expect("Linux has it");
    let lands_here = !pattern.starts_with(['|', '/']);
    let place = locked();
    let files = Place::shared(Kind::File);
    let (secret, plain) = (url(&place, &format!(":{ENCODED}@")), files.dir_text());
    // Where cores go elsewhere (systemd-coredump), the kernel's refusal is all that can be seen here.
    for (backend, leaves) in [(["--redis", &secret], false), (["--dir", &plain], true)] {
        for of_keeper in [false, true] {
            let directory = tempfile::tempdir().expect("the temporary directory takes files");
            let words = [&["run", "-q", "-k", "job"], &backend[..], &["--", "sh", "-c", "echo ready; cat"]].concat();
            let run = with_cores(directory.path(), &words).stdin_open().start();
            run.says("ready");
            let victim = if of_keeper { run.keeper().pid } else { run.front_pid() };
            crash(victim);
            // The front is woken by a signal, and by it the keeper; the command ignores it.
            run.signal(Signal::SIGWINCH);
            run.wait();
            run.leaves_no_process();
            if !leaves {
                assert_eq!(cores(directory.path()), 0, "of the {}", if of_keeper { "keeper" } else { "front" });
            } else if lands_here {
                assert_eq!(cores(directory.path()), 1, "a core is written here of what has no secret");
            }
        }
    }
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let words = ["run", "-q", "--redis", &secret, "-k", "job", "--", "sh", "-c", "kill -SEGV $$"];
    with_cores(directory.path(), &words).finish().dies_of(Signal::SIGSEGV);
    if lands_here {
        assert_eq!(cores(directory.path()), 1, "the command's limits and its core are its own");
        let core = fs::read_dir(directory.path()).expect("it is ours").flatten().next().expect("it was counted");
        hides(&fs::read(core.path()).expect("it is ours"), "the command's core");
    }
}

/// Each way to say the password, and a run and a question for each.
#[test]
fn a_password_of_redis_is_in_nothing_that_is_said_or_stored() {
    let place = locked();
    let password = file(&format!("{PASSWORD}\n"));
    let path = password.path().to_str().expect("a plain name");
    let (bare, full) = (url(&place, ""), url(&place, &format!(":{ENCODED}@")));
    let inside = r#"env; "$0" status -k job --json; cat >/dev/null"#;
    let program = program();
    type Way<'a> = (&'a [&'a str], Option<(&'a str, &'a str)>);
    let ways: [Way; 3] = [
        (&["--redis", &full], None),
        (&["--redis", &bare, "--redis-password-file", path], None),
        (&["--redis", &bare], Some(("DLOCK_REDIS_PASSWORD", PASSWORD))),
    ];
    for (way, variable) in ways {
        let call = |words: &[&str], rest: &[&str]| {
            let (verb, words) = words.split_first().expect("a subcommand");
            let call = Dlock::new([&[*verb], way, words, rest].concat());
            match variable {
                Some((name, value)) => call.env(name, value),
                None => call,
            }
        };
        for format in ["text", "json"] {
            let rest = ["--", "sh", "-c", inside, program];
            let run = call(&["run", "-v", "--log-format", format, "-k", "job", "--ttl", "3s"], &rest).stdin_open();
            let run = run.start();
            eventually("it is renewed", || run.stderr().contains("renewed"));
            let holding = fs::read(format!("/proc/{}/cmdline", run.front_pid())).expect("it lives");
            hides(&holding, "the command line");
            hides(everything_stored(&place).as_bytes(), "the server");
            for question in [&["status", "-k", "job"][..], &["status", "-k", "job", "--json"], &["list", "-v"]] {
                hidden(call(question, &[]).finish());
            }
            hidden(call(&["doctor", "--config"], &[]).finish());
            hidden(call(&["doctor"], &[]).finish());
            hidden(call(&["run", "-n", "-k", "job"], &["--", "true"]).finish().exits_with(75));
            run.let_go();
            hidden(run.wait());
        }
        hidden(call(&["acquire", "-k", "mine", "--ttl", "9s", "--export"], &[]).finish().succeeds());
        hidden(call(&["acquire", "-k", "else", "--ttl", "9s", "--json", "-v"], &[]).finish().succeeds());
        hidden(call(&["run", "-k", "job", "--ttl", "none"], &["--", "true"]).finish().exits_with(64));
    }
}

#[track_caller]
fn hidden(finished: Finished) -> Finished {
    hides(&finished.stdout, "standard output");
    hides(finished.stderr().as_bytes(), "standard error");
    finished
}

/// Every key of the server with what it holds.
fn everything_stored(place: &Place) -> String {
    let url = format!("redis://:{ENCODED}@127.0.0.1:{}", place.port());
    let mut redis = ::redis::Client::open(url).and_then(|client| client.get_connection()).expect("it serves");
    let keys: Vec<Vec<u8>> = ::redis::cmd("KEYS").arg("*").query(&mut redis).expect("it serves");
    assert!(!keys.is_empty());
    let dumps = keys.iter().map(|key| {
        let dump: Vec<u8> = ::redis::cmd("DUMP").arg(key).query(&mut redis).unwrap_or_default();
        String::from_utf8_lossy(&[key.as_slice(), b" ", &dump].concat()).into_owned()
    });
    dumps.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_password_of_zookeeper_is_in_nothing_that_is_said_or_stored() {
    let place = Place::shared(Kind::ZooKeeper);
    let credentials = file(&format!("locker:{PASSWORD}\n"));
    let path = credentials.path().to_str().expect("a plain name");
    let words = ["run", "-v", "--zk-auth-file", path, "-k", "job", "--", "sh", "-c", "env; cat >/dev/null"];
    let run = place.dlock(words).stdin_open().start();
    eventually("it holds the lock", || run.stderr().contains("acquired"));
    for process in run.job() {
        hides(&fs::read(format!("/proc/{}/cmdline", process.pid)).expect("it lives"), &process.comm);
        hides(&fs::read(format!("/proc/{}/environ", process.pid)).expect("it lives"), &process.comm);
    }
    let namespace = format!("/{}", place.namespace);
    hides(&place.zookeeper(async |client| below(client, namespace).await), "the server");
    hidden(place.dlock(["doctor", "--config", "--zk-auth-file", path]).finish());
    hidden(place.dlock(["status", "--zk-auth-file", path, "-k", "job", "--json"]).finish().succeeds());
    run.let_go();
    hidden(run.wait().succeeds());
}

/// The data of every node below.
async fn below(client: &Client, root: String) -> Vec<u8> {
    let (mut found, mut unseen) = (Vec::new(), vec![root]);
    while let Some(path) = unseen.pop() {
        let children = client.list_children(&path).await.unwrap_or_default();
        unseen.extend(children.into_iter().map(|child| format!("{path}/{child}")));
        found.extend(path.as_bytes());
        found.extend(client.get_data(&path).await.map(|(data, _)| data).unwrap_or_default());
    }
    assert!(holds(&found, "\"pid\""), "the holder's data are among them");
    found
}
