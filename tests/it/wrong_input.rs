//! Wrong input: one sentence, the right status, and nothing left behind.

use std::fs::{self, File, Permissions};
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::time::Duration;

use crate::support::{
    Dlock, Finished, Kind, Place, Server, free_port, install_program, program, scripted_server,
    sentences_for_every_backend, silent_server,
};

sentences_for_every_backend![
    what_makes_no_sense_is_a_usage_error_and_touches_nothing,
    a_token_that_is_none_is_a_usage_error_and_one_that_holds_nothing_is_79,
    acquire_whose_token_cannot_be_written_gives_the_lock_back,
    closed_descriptors_do_not_disturb_a_run,
];

/// Any user but root, without a name that would have to exist.
const NOBODY: u32 = 65534;

fn what_makes_no_sense_is_a_usage_error_and_touches_nothing(place: &Place) {
    let long = "x".repeat(513);
    let before = place.footprint();
    let cases: [(&[&str], &str); 28] = [
        (&["run", "-k", "", "--", "true"], "empty"),
        (&["run", "-k", &long, "--", "true"], "512"),
        (&["run", "-k", "two\nlines", "--", "true"], "newline"),
        (&["run", "--", "true"], "key"),
        (&["run", "-k", "job"], "command"),
        (&["run", "-k", "job", "--ttl", "0", "--", "true"], "ttl"),
        (&["run", "-k", "job", "--ttl", "0.5", "--", "true"], "ttl"),
        (&["run", "-k", "job", "--ttl=-1", "--", "true"], "ttl"),
        (&["run", "-k", "job", "--ttl", "abc", "--", "true"], "ttl"),
        (&["run", "-k", "job", "--ttl", "99999y", "--", "true"], "ttl"),
        (&["run", "-k", "job", "-w", "soon", "--", "true"], "wait"),
        (&["run", "-k", "job", "-n", "-E", "256", "--", "true"], "256"),
        (&["run", "-k", "job", "-n", "-E", "-1", "--", "true"], "-"),
        (&["run", "-k", "job", "-n", "-w", "1", "--", "true"], "wait"),
        (&["run", "-k", "job", "--namespace", "a/b", "--", "true"], "namespace"),
        (&["run", "-k", "job", "--namespace", ".a", "--", "true"], "namespace"),
        (&["run", "-k", "job", "--slots", "0", "--", "true"], "slots"),
        (&["run", "-k", "job", "--slots", "-1", "--", "true"], "slots"),
        (&["run", "-k", "job", "--slots", "2", "-s", "--", "true"], "exclude each other"),
        (&["acquire", "-k", "job", "--ttl", "9s", "-x", "--shared"], "exclude each other"),
        (&["status", "job", "--shared"], "--exit-code"),
        (&["status", "job", "--exit-code", "--slots", "many"], "slots"),
        (&["run", "-k", "job", "--no-such-option", "--", "true"], "--no-such-option"),
        (&["run", "-k", "job", "-c", "true", "--", "true"], "command"),
        (&["acquire", "-k", "job"], "ttl"),
        (&["acquire", "-k", "job", "--ttl", "9s", "-E", "0"], "-E"),
        (&["acquire", "-k", "job", "--ttl", "9s", "--", "true"], "true"),
        (&["renew", "-k", "job", "--token", "0123456789abcdef0123456789abcdef", "--ttl", "0"], "ttl"),
    ];
    for (args, word) in cases {
        let mut call: Vec<String> = vec![args[0].to_owned()];
        call.extend(place.options());
        if args.contains(&"--namespace") {
            call.truncate(call.len() - 2);
        }
        call.extend(args[1..].iter().map(ToString::to_string));
        let refused = Dlock::new(&call).finish().exits_with(64);
        assert!(refused.stdout.is_empty(), "{}", refused.account());
        let stderr = refused.stderr().to_lowercase();
        assert!(stderr.contains(&word.to_lowercase()), "it names {word:?}: {}", refused.account());
        refused.mentions(&[]);
    }
    assert_eq!(place.footprint(), before);
}

fn a_token_that_is_none_is_a_usage_error_and_one_that_holds_nothing_is_79(place: &Place) {
    place.acquire("job", "30s");
    let before = place.footprint();
    for subcommand in ["release", "renew"] {
        place.dlock([subcommand, "-k", "job"]).finish().exits_with(64).mentions(&["token"]);
        for wrong in ["", "abc", "0123456789abcdef0123456789abcdeg", "0123456789abcdef0123456789abcdef0"] {
            place.dlock([subcommand, "-k", "job", "--token", wrong]).finish().exits_with(64).mentions(&["token"]);
        }
        let nobodys = "0123456789abcdef0123456789abcdef";
        place.dlock([subcommand, "-k", "job", "--token", nobodys]).finish().exits_with(79).complains(&["job"]);
        place.dlock([subcommand, "-k", "free", "--token", nobodys]).finish().exits_with(79).complains(&["free"]);
    }
    assert!(!place.is_free("job"));
    if place.kind != Kind::ZooKeeper {
        // An empty directory stays where the key was looked for; the server removes such containers by itself.
        assert_eq!(place.footprint(), before);
    }
}

fn acquire_whose_token_cannot_be_written_gives_the_lock_back(place: &Place) {
    for format in ["--export", "--json", "--ttl=30s"] {
        let full = File::options().write(true).open("/dev/full").expect("Linux has /dev/full");
        let acquire = place.dlock(["acquire", "-k", "job", "--ttl", "30s", format]);
        let acquire = if format.starts_with("--ttl") { place.dlock(["acquire", "-k", "job", format]) } else { acquire };
        acquire.stdout_to(full).finish().exits_with(70).complains(&["job"]);
        assert!(place.is_free("job"), "{format}");
    }
    with_descriptor_closed(place, ">&-", &["acquire", "-k", "job", "--ttl", "30s"]).exits_with(70).complains(&["job"]);
    assert!(place.is_free("job"));
    // A reader that went away: the pipe is broken.
    let (reader, writer) = std::io::pipe().expect("there are descriptors");
    drop(reader);
    place.dlock(["acquire", "-k", "job", "--ttl", "30s"]).stdout_to(writer).finish().exits_with(70).complains(&["job"]);
    assert!(place.is_free("job"));
}

/// The call made by a shell that closes descriptors for it.
fn with_descriptor_closed(place: &Place, redirection: &str, args: &[&str]) -> Finished {
    let script = format!("exec \"$@\" {redirection}");
    let mut call = vec!["-c".to_owned(), script, "sh".to_owned(), program().to_owned()];
    call.push(args[0].to_owned());
    call.extend(place.options());
    call.extend(args[1..].iter().map(ToString::to_string));
    Dlock::of_program(Path::new("/bin/sh"), &call).finish()
}

fn closed_descriptors_do_not_disturb_a_run(place: &Place) {
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let witness = directory.path().join("witness");
    let script = "echo ran >\"$1\"; ls -l /proc/self/fd >>\"$1\" 2>/dev/null; exit 6";
    for redirection in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        fs::remove_file(&witness).ok();
        let path = witness.to_str().expect("temporary directories have plain names");
        let run = ["run", "-k", "job", "--", "sh", "-c", script, "sh", path];
        with_descriptor_closed(place, redirection, &run).exits_with(6);
        let seen = fs::read_to_string(&witness).unwrap_or_else(|e| panic!("{redirection}: the command ran: {e}"));
        assert!(!seen.contains("socket:") && !seen.contains("timerfd"), "none of ours: {redirection}: {seen}");
        assert!(place.is_free("job"), "{redirection}");
    }
    let full = || File::options().write(true).open("/dev/full").expect("Linux has /dev/full");
    place.dlock(["run", "-k", "job", "--", "true"]).stdout_to(full()).stderr_to(full()).finish().succeeds();
    assert!(place.is_free("job"));
    place.dlock(["status", "-k", "job"]).stdout_to(full()).finish().exits_with(70);
    place.acquire("job", "30s");
    place.dlock(["run", "-k", "job", "-n", "--", "true"]).stderr_to(full()).finish().exits_with(75);
}

#[test]
fn dlock_without_anything_or_with_an_unknown_subcommand_is_a_usage_error() {
    Dlock::new([""; 0]).finish().exits_with(64);
    Dlock::new(["dance"]).finish().exits_with(64).mentions(&["dance"]);
    let help = Dlock::new(["--help"]).finish().succeeds();
    assert!(help.said().contains("run") && help.stderr().is_empty(), "{}", help.account());
    Dlock::new(["--version"]).finish().succeeds();
}

#[test]
fn a_backend_that_does_not_exist_is_a_usage_error() {
    Dlock::new(["run", "-b", "etcd", "-k", "job", "--", "true"]).finish().exits_with(64).mentions(&["etcd"]);
}

#[test]
fn two_backends_at_once_are_a_usage_error() {
    let call = ["run", "--redis", "redis://127.0.0.1", "--zk", "127.0.0.1", "-k", "job", "--", "true"];
    Dlock::new(call).finish().exits_with(64).mentions(&["redis", "zk"]);
}

#[test]
fn an_address_that_is_none_is_a_usage_error() {
    for url in [
        "http://127.0.0.1",
        "redis://",
        "redis://127.0.0.1:port",
        "redis://127.0.0.1:65536",
        "redis://127.0.0.1:0",
        "redis://127.0.0.1/notadb",
        "nonsense:",
    ] {
        Dlock::new(["run", "--redis", url, "-k", "job", "--", "true"]).finish().exits_with(64).mentions(&[]);
    }
    for hosts in ["", ",", "127.0.0.1:port", "127.0.0.1:65536", "127.0.0.1:0", "127.0.0.1:2181/a//b"] {
        let call = Dlock::new(["run", "-b", "zk", "--zk", hosts, "-k", "job", "--", "true"]);
        call.finish().exits_with(64).mentions(&[]);
    }
}

/// Both backends at this place, with its options.
fn at(host_and_port: &str) -> [[String; 2]; 2] {
    [["--redis".to_owned(), format!("redis://:hush@{host_and_port}")], ["--zk".to_owned(), host_and_port.to_owned()]]
}

/// First contact is bounded by five seconds; two busy cores may add as many.
const AT_MOST: Duration = Duration::from_secs(10);

#[track_caller]
fn is_unavailable(option: &[String; 2], endpoint: &str) {
    for call in [
        &["run", "-k", "job", "--", "echo", "it ran"][..],
        &["run", "-k", "job", "-n", "--", "echo", "it ran"],
        &["acquire", "-k", "job", "--ttl", "9s"],
        &["status", "-k", "job"],
        &["list"],
        &["release", "-k", "job", "--token", "0123456789abcdef0123456789abcdef"],
        &["renew", "-k", "job", "--token", "0123456789abcdef0123456789abcdef"],
    ] {
        let args = call[..1].iter().copied().chain(option.iter().map(String::as_str)).chain(call[1..].iter().copied());
        let failed = Dlock::new(args).finish().exits_with(69).complains(&[endpoint]);
        assert!(failed.stdout.is_empty(), "{}", failed.account());
        assert!(!failed.stderr().contains("hush"), "a password is masked: {}", failed.account());
        assert!(failed.took < AT_MOST, "{}", failed.account());
    }
}

#[test]
fn a_port_where_nobody_listens_is_69() {
    let endpoint = format!("127.0.0.1:{}", free_port());
    at(&endpoint).iter().for_each(|option| is_unavailable(option, &endpoint));
}

#[test]
fn a_host_that_has_no_address_is_69() {
    at("no-such-host.invalid:6379").iter().for_each(|option| is_unavailable(option, "no-such-host.invalid"));
}

#[test]
fn a_web_server_on_the_port_is_69() {
    let port = scripted_server(|_| {
        Some(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec())
    });
    let endpoint = format!("127.0.0.1:{port}");
    at(&endpoint).iter().for_each(|option| is_unavailable(option, &endpoint));
}

#[test]
fn a_redis_that_accepts_and_never_answers_is_69_in_bounded_time() {
    let endpoint = format!("127.0.0.1:{}", silent_server());
    is_unavailable(&at(&endpoint)[0], &endpoint);
}

#[test]
fn a_zookeeper_that_accepts_and_never_answers_is_69_in_bounded_time() {
    let endpoint = format!("127.0.0.1:{}", silent_server());
    is_unavailable(&at(&endpoint)[1], &endpoint);
}

fn redis_call(url: &str) -> Finished {
    Dlock::new(["run", "--redis", url, "-k", "job", "-n", "--", "echo", "it ran"]).finish()
}

#[test]
fn a_wrong_or_missing_redis_password_is_77_and_never_shown() {
    let server = Server::redis(&["--requirepass", "open-sesame"]);
    let endpoint = format!("127.0.0.1:{}", server.port);
    for url in [format!("redis://{endpoint}"), format!("redis://:wrong@{endpoint}"), format!("redis://u:pw@{endpoint}")]
    {
        let refused = redis_call(&url).exits_with(77).complains(&["cannot acquire \"job\": ", &endpoint]);
        assert!(refused.stdout.is_empty() && !refused.stderr().contains("wrong@"), "{}", refused.account());
        Dlock::new(["status", "--redis", &url, "-k", "job"]).finish().exits_with(77).complains(&[&endpoint]);
    }
    let right = format!("redis://:open-sesame@{endpoint}");
    redis_call(&right).succeeds();
    let run = Dlock::new(["run", "-k", "job", "--", "env"])
        .env("DLOCK_REDIS", &right)
        .env("DLOCK_REDIS_PASSWORD", "open-sesame")
        .finish()
        .succeeds();
    assert!(!run.said().contains("sesame"), "secrets stay out of the command's environment: {}", run.account());
}

#[test]
fn a_redis_database_that_does_not_exist_is_78() {
    let port = Server::shared_redis().port;
    redis_call(&format!("redis://127.0.0.1:{port}/99")).exits_with(78).complains(&["cannot acquire \"job\": "]);
}

#[test]
fn a_redis_replica_is_refused_and_named() {
    let server = Server::redis(&["--replicaof", "127.0.0.1", &free_port().to_string()]);
    let endpoint = format!("127.0.0.1:{}", server.port);
    let refused = redis_call(&format!("redis://{endpoint}")).exits_with(69);
    refused.complains(&["cannot acquire \"job\": ", &endpoint, "replica"]);
}

#[test]
fn a_redis_that_still_loads_its_data_is_69() {
    let port = scripted_server(|_| Some(b"-LOADING Redis is loading the dataset in memory\r\n".repeat(8)));
    let endpoint = format!("127.0.0.1:{port}");
    let failed = redis_call(&format!("redis://{endpoint}")).exits_with(69);
    failed.complains(&["cannot acquire \"job\": ", &endpoint, "loading"]);
}

#[test]
fn a_redis_key_of_another_type_is_78_and_left_as_it_is() {
    let place = Place::shared(Kind::Redis);
    let key = format!("{}:job", place.namespace);
    let () = ::redis::cmd("RPUSH").arg(&key).arg("a").arg("b").query(&mut place.redis()).expect("the server serves");
    place.dlock(["run", "-k", "job", "-n", "--", "true"]).finish().exits_with(78).complains(&["job", "another type"]);
    place.dlock(["acquire", "-k", "job", "--ttl", "9s"]).finish().exits_with(78).complains(&["job"]);
    let left: Vec<String> =
        ::redis::cmd("LRANGE").arg(&key).arg(0).arg(-1).query(&mut place.redis()).expect("still a list");
    assert_eq!(left, ["a", "b"]);
    assert_eq!(place.footprint().len(), 1, "{:?}", place.footprint());
}

#[test]
fn a_zookeeper_session_longer_than_the_server_grants_is_78_with_the_range() {
    let place = Place::shared(Kind::ZooKeeper);
    let refused = place.dlock(["run", "-k", "job", "--ttl", "10m", "--", "true"]).finish().exits_with(78);
    refused.complains(&["cannot acquire \"job\": ", "2m"]);
    assert!(place.is_free("job"));
}

fn file_call(dir: &Path) -> Dlock {
    let dir = dir.to_str().expect("temporary directories have plain names");
    Dlock::new(["run", "--dir", dir, "-b", "file", "-k", "job", "--", "echo", "it ran"])
}

#[test]
fn a_directory_that_is_missing_is_78_and_is_not_made() {
    let parent = tempfile::tempdir().expect("the temporary directory takes files");
    let missing = parent.path().join("missing");
    file_call(&missing).finish().exits_with(78).complains(&["cannot acquire \"job\": ", "missing"]);
    assert!(!missing.exists());
    let file = parent.path().join("file");
    fs::write(&file, "").expect("a fresh directory takes files");
    file_call(&file).finish().exits_with(78).complains(&["cannot acquire \"job\": "]);
}

/// The binary where every user can start it: the build directory may be closed to others.
fn binary_for_everybody(directory: &Path) -> std::path::PathBuf {
    let copy = directory.join("dlock");
    install_program(Path::new(program()), &copy);
    fs::set_permissions(directory, Permissions::from_mode(0o755)).expect("it is ours");
    copy
}

#[test]
fn a_directory_that_is_not_writable_is_77() {
    let parent = tempfile::tempdir().expect("the temporary directory takes files");
    let closed = parent.path().join("closed");
    fs::create_dir(&closed).expect("a fresh directory takes more");
    fs::set_permissions(&closed, Permissions::from_mode(0o555)).expect("it is ours");
    let args = ["run", "-b", "file", "--dir", closed.to_str().expect("a plain name"), "-k", "job", "--", "true"];
    let call = if nix::unistd::geteuid().is_root() {
        // Root may write anywhere: somebody else has to ask.
        Dlock::of_program(&binary_for_everybody(parent.path()), args).by_user(NOBODY).cwd(Path::new("/"))
    } else {
        Dlock::new(args)
    };
    call.finish().exits_with(77).complains(&["cannot acquire \"job\": ", "closed"]);
    assert_eq!(fs::read_dir(&closed).expect("it is there").count(), 0);
}

#[test]
fn another_users_lock_file_that_is_not_writable_is_77() {
    if !nix::unistd::geteuid().is_root() {
        // Only root can make a file that is another's; whoever is not root is refused root's directory instead.
        let sys = Path::new("/sys/kernel");
        file_call(sys).finish().mentions(&["cannot acquire \"job\": "]);
        return;
    }
    let place = Place::shared(Kind::File);
    place.dlock(["run", "-k", "job", "--", "true"]).finish().succeeds();
    let parent = tempfile::tempdir().expect("the temporary directory takes files");
    fs::set_permissions(place.dir(), Permissions::from_mode(0o755)).expect("it is ours");
    let args =
        ["run", "-b", "file", "--dir", &place.dir_text(), "--namespace", &place.namespace, "-k", "job", "--", "true"];
    let call = Dlock::of_program(&binary_for_everybody(parent.path()), args).by_user(NOBODY).cwd(Path::new("/"));
    call.finish().exits_with(77).complains(&["cannot acquire \"job\": "]);
}

struct TakenDirectories([std::path::PathBuf; 2]);

impl Drop for TakenDirectories {
    fn drop(&mut self) {
        for directory in &self.0 {
            fs::remove_dir_all(directory).ok();
        }
    }
}

/// The default directory is one's own or nobody's: whoever gets there first must not decide who locks what.
#[test]
fn a_default_directory_that_another_made_is_77() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let parent = tempfile::tempdir().expect("the temporary directory takes files");
    // An uid that no other test and no user of this machine locks with.
    let uid = 2_000_000_000 + std::process::id() % 1_000_000;
    let taken = TakenDirectories(["/run/lock", "/tmp"].map(|base| Path::new(base).join(format!("dlock-{uid}"))));
    for directory in &taken.0 {
        if fs::create_dir(directory).is_ok() {
            chown(directory, Some(NOBODY), Some(NOBODY)).expect("root may give away");
        }
    }
    let binary = binary_for_everybody(parent.path());
    let call = Dlock::of_program(&binary, ["run", "-b", "file", "-k", "job", "--", "true"]);
    let ended = call.by_user(uid).cwd(Path::new("/")).finish();
    ended.exits_with(77).complains(&["cannot acquire \"job\": ", "dlock-"]);
}

/// The one lock file of a place in which exactly one key was used.
fn lock_file(place: &Place) -> std::path::PathBuf {
    let files: Vec<_> =
        place.footprint().into_iter().map(std::path::PathBuf::from).filter(|path| path.is_file()).collect();
    let named: Vec<_> = files.iter().filter(|path| path.file_name().is_some_and(|name| name == "job")).collect();
    assert_eq!(named.len(), 1, "{files:?}");
    named[0].clone()
}

#[test]
fn a_lock_file_that_is_corrupt_is_78_and_left_as_it_is() {
    let place = Place::shared(Kind::File);
    for damage in ["garbage", "truncated to one byte"] {
        place.dlock(["run", "-k", "job", "--", "true"]).finish().succeeds();
        let file = lock_file(&place);
        let whole = fs::read(&file).expect("it is ours");
        let damaged = if damage == "garbage" { vec![b'#'; whole.len().max(4096)] } else { whole[..1].to_vec() };
        fs::write(&file, &damaged).expect("it is ours");
        for call in [&["run", "-n", "--", "true"][..], &["acquire", "--ttl", "9s"]] {
            let args = call[..1].iter().copied().chain(["--dir", place.dir().to_str().expect("a plain name")]);
            let args = args.chain(["-b", "file", "--namespace", &place.namespace, "-k", "job"]);
            Dlock::new(args.chain(call[1..].iter().copied())).finish().exits_with(78).complains(&["job"]);
        }
        assert_eq!(fs::read(&file).expect("it is ours"), damaged, "{damage}");
        fs::write(&file, &whole).expect("it is ours");
        assert!(place.is_free("job"), "{damage}");
    }
}

#[test]
fn a_lock_file_that_is_a_link_or_no_file_is_refused() {
    let place = Place::shared(Kind::File);
    place.dlock(["run", "-k", "job", "--", "true"]).finish().succeeds();
    let file = lock_file(&place);
    let target = place.dir().join("target");
    fs::rename(&file, &target).expect("it is ours");
    let content = fs::read(&target).expect("it is ours");
    std::os::unix::fs::symlink(&target, &file).expect("it is ours");
    let refused = place.dlock(["run", "-k", "job", "--", "true"]).finish();
    assert!(matches!(refused.status.code(), Some(77 | 78)), "{}", refused.account());
    refused.complains(&["cannot acquire \"job\": "]);
    assert_eq!(fs::read(&target).expect("it is ours"), content);
    fs::remove_file(&file).expect("it is ours");
    fs::create_dir(&file).expect("it is ours");
    place.dlock(["run", "-k", "job", "--", "true"]).finish().exits_with(78).complains(&["cannot acquire \"job\": "]);
}

/// The port of a proxy that has nothing behind it: connections are accepted and ended at once.
#[test]
fn a_server_that_hangs_up_at_once_is_69() {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let endpoint = format!("127.0.0.1:{}", listener.local_addr().expect("it is bound").port());
    std::thread::spawn(move || listener.incoming().for_each(drop));
    at(&endpoint).iter().for_each(|option| is_unavailable(option, &endpoint));
}
