//! Fencing tokens in use: the file that a command finds, `fence-check`, and the examples of `docs/fencing.md` with a
//! holder that comes too late.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use tempfile::TempDir;

use crate::support::{Dlock, Kind, Place, Running, program, sentences_for_every_backend};

sentences_for_every_backend![
    the_token_is_in_the_file_before_the_command_starts,
    a_fence_file_that_cannot_be_written_gives_the_lock_back,
];

fn scratch() -> TempDir {
    TempDir::with_prefix("dlock-fence-").expect("the temporary directory takes files")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}

fn the_token_is_in_the_file_before_the_command_starts(place: &Place) {
    let directory = scratch();
    let file = directory.path().join("fence");
    fs::write(&file, "something longer than a fencing token that stood there before\n").expect("there is room");
    let show = "cat \"$0\"; echo \"$DLOCK_FENCE\"";
    let run = ["run", "-k", "job", "--fence-file", text(&file), "--", "sh", "-c", show, text(&file)];
    let run = place.dlock(run).finish().succeeds();
    let (in_file, in_environment) = run.said().split_once('\n').expect("two lines");
    assert!(in_file == in_environment && in_file.parse::<u64>().is_ok(), "{}", run.account());
}

/// A line for each key in the order given, as in `DLOCK_FENCE`.
#[test]
fn of_several_keys_each_has_its_line_in_the_file() {
    let place = Place::shared(Kind::Redis);
    let directory = scratch();
    let file = directory.path().join("fence");
    let show = "cat \"$0\"; echo \"$DLOCK_FENCE\"";
    let run = ["run", "-k", "b", "-k", "a", "--fence-file", text(&file), "--", "sh", "-c", show, text(&file)];
    let run = place.dlock(run).finish().succeeds();
    let lines: Vec<&str> = run.said().lines().collect();
    assert_eq!(lines.len(), 4, "{}", run.account());
    assert_eq!(lines[..2], lines[2..]);
}

fn a_fence_file_that_cannot_be_written_gives_the_lock_back(place: &Place) {
    let directory = scratch();
    let missing = directory.path().join("missing/fence");
    for (path, status, why) in [
        (text(&missing), 78, "No such file or directory"),
        (text(directory.path()), 78, "Is a directory"),
        ("/dev/full", 70, "No space left on device"),
    ] {
        let run = ["run", "-k", "job", "--fence-file", path, "--", "echo", "ran"];
        let refused = place.dlock(run).finish().exits_with(status).complains(&["cannot write --fence-file", path, why]);
        assert!(refused.stdout.is_empty(), "{}", refused.account());
        assert!(place.is_free("job"));
    }
}

#[test]
fn a_fence_file_is_not_promised_where_no_token_comes() {
    let place = Place::shared(Kind::Redis);
    for without in [&["-s"][..], &["--slots", "2"], &["--layout", "redisson"]] {
        let run = ["run", "-k", "job", "--fence-file", "/dev/null"].iter().chain(without).chain(&["--", "true"]);
        place.dlock_with(run.copied()).finish().exits_with(64).complains(&["--fence-file: there is no fencing token"]);
    }
    // Nobody knows before the file is locked.
    let directory = scratch();
    let file = directory.path().join("shared");
    fs::write(&file, "").expect("there is room");
    let words = ["run", "-b", "file", "--namespace", "", "-k", text(&file), "--fence-file", "/dev/null", "true"];
    Dlock::new(words).finish().exits_with(64).complains(&["--fence-file: no fencing token comes with this lock"]);
    place.dlock(["acquire", "-k", "job", "--ttl", "9s", "--fence-file", "x"]).finish().exits_with(64);
}

fn check(file: &Path, fence: &str) -> Dlock {
    Dlock::new(["fence-check", "--file", text(file)]).env("DLOCK_FENCE", fence)
}

#[test]
fn a_fence_that_is_not_lower_is_recorded_and_a_lower_one_is_79() {
    let directory = scratch();
    let file = directory.path().join("fence");
    let recorded = || fs::read_to_string(&file).expect("it was made").trim().to_owned();
    check(&file, "7").finish().succeeds().says_nothing();
    assert_eq!(recorded(), "7");
    check(&file, "7").finish().succeeds().says_nothing();
    check(&file, "18446744073709551615").finish().succeeds().says_nothing();
    let before = fs::read(&file).expect("it is there");
    let refused = check(&file, "18446744073709551614").finish().exits_with(79);
    refused.complains(&[
        "has seen fencing token 18446744073709551615",
        "18446744073709551614 is below it",
        text(&file),
    ]);
    assert_eq!(fs::read(&file).expect("it is there"), before, "nothing is changed");
    fs::write(&file, "5").expect("somebody starts anew");
    check(&file, "6").finish().succeeds();
    assert_eq!(recorded(), "6");
    let quiet = Dlock::new(["fence-check", "-q", "--file", text(&file)]).env("DLOCK_FENCE", "1");
    quiet.finish().exits_with(79).complains(&["below"]);
}

#[test]
fn a_check_without_a_token_or_a_record_refuses() {
    let directory = scratch();
    let file = directory.path().join("fence");
    Dlock::new(["fence-check", "--file", text(&file)]).finish().exits_with(64).complains(&["DLOCK_FENCE is not set"]);
    Dlock::new(["fence-check"]).env("DLOCK_FENCE", "7").finish().exits_with(64).complains(&["--file"]);
    for wrong in ["", "seven", "-7", "+7", "7.0", "18446744073709551616", " 7"] {
        check(&file, wrong).finish().exits_with(64).complains(&["DLOCK_FENCE"]);
    }
    check(&file, "7\n8").finish().exits_with(64).complains(&["DLOCK_FENCE has a line for each of several keys"]);
    assert!(!file.exists(), "nothing was recorded");
    for other in ["not a number", "7\n8\n", "  ", "\0\0\0"] {
        fs::write(&file, other).expect("there is room");
        check(&file, "7").finish().exits_with(78).complains(&["something else than a fencing token"]);
        assert_eq!(fs::read_to_string(&file).expect("it is there"), other);
    }
    check(directory.path(), "7").finish().exits_with(78).complains(&["Is a directory"]);
    check(&directory.path().join("missing/fence"), "7").finish().exits_with(78).complains(&["No such file"]);
    check("/dev/null".as_ref(), "7").finish().exits_with(78).complains(&["is no file"]);
    check("/sys/kernel/uevent_seqnum".as_ref(), "7").finish().exits_with(77).complains(&["Permission denied"]);
}

/// Reading, comparing and writing are one step: of all who come at once, nobody lowers what another has raised.
#[test]
fn of_checks_at_the_same_time_the_highest_number_stays() {
    let directory = scratch();
    let file = directory.path().join("fence");
    for round in 0..5_u64 {
        let numbers = (0..12).map(|number| 1000 * round + 1 + number * 7 % 12);
        let checks: Vec<(u64, Running)> =
            numbers.map(|number| (number, check(&file, &number.to_string()).start())).collect();
        for (number, running) in checks {
            let ended = running.wait();
            let highest = number == 1000 * round + 12;
            assert!(ended.status.success() || (!highest && ended.status.code() == Some(79)), "{}", ended.account());
        }
        let recorded = fs::read_to_string(&file).expect("it was made");
        assert_eq!(recorded.trim(), (1000 * round + 12).to_string());
    }
}

#[test]
fn a_check_may_stand_under_a_flock_of_its_own_file() {
    let directory = scratch();
    let file = directory.path().join("fence");
    let words = [text(&file), program(), "fence-check", "--file", text(&file)];
    Dlock::of_program("flock".as_ref(), words).env("DLOCK_FENCE", "7").finish().succeeds();
}

/// The script of `docs/fencing.md` whose second line begins with `# name,`.
fn example(name: &str) -> String {
    let guide = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/fencing.md")).expect("it is there");
    let mut scripts = guide.split("    #!/bin/sh\n").skip(1).map(|rest| {
        let lines = rest.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
        lines.map(|line| line.strip_prefix("    ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
    });
    let found = scripts.find(|script| script.starts_with(&format!("# {name},")));
    found.unwrap_or_else(|| panic!("{name} is in docs/fencing.md"))
}

/// Runs the example as a holder that loses its lock without noticing, and as one that gets it meanwhile. The late one
/// writes last, and is refused.
fn a_late_holder_is_refused(name: &str, directory: &Path, variables: &[(&str, String)]) {
    let place = Place::shared(Kind::Redis);
    let script = directory.join(name);
    fs::write(&script, example(name)).expect("there is room");
    let programs = Path::new(program()).parent().expect("it stands in a directory");
    let path = format!("{}:{}", text(programs), std::env::var("PATH").expect("PATH is set"));
    let writes = |body: &str, before: &str| {
        let command = format!("{before} sh \"$0\"; echo \"ended with $?\"");
        let call = place.dlock(["run", "-k", "report", "--on-lost", "warn", "--", "sh", "-c", &command, text(&script)]);
        let call = variables.iter().fold(call, |call, (name, value)| call.env(name, value));
        call.env("BODY", body).env("PATH", &path).cwd(directory).stdin_open().start()
    };
    let late = writes("from the late one", "echo ready; cat >/dev/null;");
    late.says("ready");
    place.take_away("report");
    let current = writes("from the current one", "");
    current.says("ended with 0");
    current.wait().succeeds();
    late.let_go();
    late.says("ended with 79");
    // Whether dlock noticed in time that its lock was gone is not the question here.
    late.wait();
    // A later holder writes as ever.
    let next = writes("from the next one", "");
    next.says("ended with 0");
    next.wait().succeeds();
}

#[test]
fn the_guides_files_refuse_a_late_holder() {
    let directory = scratch();
    a_late_holder_is_refused("publish.sh", directory.path(), &[]);
    assert_eq!(fs::read_to_string(directory.path().join("report")).expect("it was written"), "from the next one\n");
    let left: Vec<_> = fs::read_dir(directory.path()).expect("it is there").flatten().map(|e| e.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("report.new")), "{left:?}");
}

#[test]
fn the_guides_database_refuses_a_late_holder() {
    let directory = scratch();
    let database = directory.path().join("reports");
    let sql = |statement: &str| {
        let output = Command::new("sqlite3").arg(&database).arg(statement).output().expect("sqlite3 is installed");
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    sql("CREATE TABLE report (id INTEGER PRIMARY KEY, body TEXT, fence INTEGER NOT NULL DEFAULT 0);");
    sql("INSERT INTO report (id, body) VALUES (1, 'the first');");
    let variables = [("DATABASE", text(&database).to_owned())];
    a_late_holder_is_refused("update.sh", directory.path(), &variables);
    assert_eq!(sql("SELECT body FROM report;").trim(), "from the next one");
}

/// An object store of one object: HEAD, and PUT with If-Match, as RFC 9110 has them. Returns its address.
fn object_store() -> String {
    struct Object {
        version: u64,
        fence: String,
        body: Vec<u8>,
    }
    static OBJECT: Mutex<Object> = Mutex::new(Object { version: 1, fence: String::new(), body: Vec::new() });
    fn serve(client: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(client);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            match line.trim_end() {
                "" => break,
                line => head.push(line.to_owned()),
            }
        }
        let header = |name: &str| {
            head.iter().find_map(|line| {
                let (found, value) = line.split_once(':')?;
                found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let mut object = OBJECT.lock().expect("nobody panics");
        let etag = format!("\"v{}\"", object.version);
        let answer = if head[0].starts_with("HEAD ") {
            format!("HTTP/1.1 200 OK\r\nETag: {etag}\r\nx-amz-meta-fence: {}\r\nContent-Length: 0\r\n", object.fence)
        } else if header("if-match") == Some(etag) {
            let mut body = vec![0; header("content-length")?.parse().ok()?];
            reader.read_exact(&mut body).ok()?;
            let version = object.version + 1;
            *object = Object { version, fence: header("x-amz-meta-fence")?, body };
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n".to_owned()
        } else {
            "HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n".to_owned()
        };
        let body = String::from_utf8_lossy(&object.body).into_owned();
        let answer = format!("{answer}Connection: close\r\nX-Body: {body}\r\n\r\n");
        (&*client).write_all(answer.as_bytes()).ok()
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || listener.incoming().flatten().for_each(|client| serve(&client).unwrap_or_default()));
    format!("http://{address}/bucket/report")
}

#[test]
fn the_guides_object_store_refuses_a_late_holder() {
    let directory = scratch();
    let url = object_store();
    a_late_holder_is_refused("upload.sh", directory.path(), &[("URL", url.clone())]);
    let head = Command::new("curl").args(["-sS", "--head", &url]).output().expect("curl is installed");
    let head = String::from_utf8_lossy(&head.stdout).into_owned();
    assert!(head.contains("X-Body: from the next one\r\n"), "{head}");
    // What stands between the reading and the writing is the store's precondition.
    let stale =
        ["-sS", "-o", "/dev/null", "-w", "%{http_code}", "-X", "PUT", "-H", "If-Match: \"v1\"", "-d", "x", &url];
    let refused = Command::new("curl").args(stale).output().expect("curl is installed");
    assert_eq!(String::from_utf8_lossy(&refused.stdout), "412");
}

#[test]
fn a_record_that_takes_no_bytes_is_no_success() {
    let directory = scratch();
    let file = directory.path().join("fence");
    File::create(&file).expect("there is room");
    // No file may grow: what the kernel answers to a write is EFBIG, once SIGXFSZ is ignored.
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" fence-check --file \"$1\"";
    let words = ["-c", script, program(), text(&file)];
    let call = Dlock::of_program("sh".as_ref(), words).env("DLOCK_FENCE", "7");
    let (reader, writer) = std::io::pipe().expect("there are descriptors");
    let ended = call.stderr_to(writer).finish().exits_with(70);
    let said = std::io::read_to_string(reader).expect("UTF-8");
    assert!(said.contains("cannot write") && said.contains("File too large"), "{said} {}", ended.account());
    assert_eq!(fs::metadata(&file).expect("it is there").len(), 0);
}
