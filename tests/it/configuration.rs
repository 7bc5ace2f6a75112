//! Configuration files: which of them counts, what is said when one is wrong, and that nothing is paid for none.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Dlock, Finished, Kind, Place, program};

/// A host with an `/etc` of its own and a user's home, seen by calls made through it alone.
struct Host {
    directory: TempDir,
}

impl Host {
    fn new() -> Self {
        let directory = TempDir::with_prefix("dlock-host-").expect("the temporary directory takes files");
        for part in ["etc/dlock", "home/.config/dlock"] {
            fs::create_dir_all(directory.path().join(part)).expect("there is room");
        }
        fs::copy("/etc/passwd", directory.path().join("etc/passwd")).expect("every host has users");
        Self { directory }
    }

    fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    fn user_file(&self) -> PathBuf {
        self.home().join(".config/dlock/config.toml")
    }

    fn of_user(self, text: &str) -> Self {
        fs::write(self.user_file(), text).expect("there is room");
        self
    }

    fn of_system(self, text: &str) -> Self {
        fs::write(self.directory.path().join("etc/dlock/config.toml"), text).expect("there is room");
        self
    }

    /// In a mount namespace of its own: the machine's `/etc` stays what it is.
    fn call(&self, program: &str, args: &[&str]) -> Dlock {
        let namespaces = if nix::unistd::geteuid().is_root() { "-m" } else { "-rm" };
        let etc = self.directory.path().join("etc");
        let script = "mount --bind \"$1\" /etc && shift && exec \"$@\"";
        let before = [namespaces, "sh", "-c", script, "sh", etc.to_str().expect("a plain name"), program];
        Dlock::of_program("unshare".as_ref(), before.iter().chain(args)).env("HOME", self.home())
    }

    fn dlock(&self, args: &[&str]) -> Dlock {
        self.call(program(), args)
    }
}

/// What `doctor --config --json` says of a setting: its value and where it comes from.
fn effective(call: Dlock, setting: &str) -> (String, String) {
    let answer: Value = serde_json::from_str(call.finish().succeeds().said()).expect("one object");
    let settings = answer["settings"].as_array().expect("settings is an array");
    let found = settings.iter().find(|entry| entry["setting"] == setting).expect("every setting is shown");
    let text = |field: &str| found[field].as_str().expect("a text").to_owned();
    (text("value"), text("source"))
}

const SHOW: [&str; 3] = ["doctor", "--config", "--json"];

#[test]
fn flags_come_before_variables_before_the_users_file_before_the_hosts_file() {
    let host = Host::new()
        .of_user("namespace = 'user'\n[profile.ci]\nnamespace = 'user-ci'\n")
        .of_system("namespace = 'system'\nlabel = 'system'\n[profile.ci]\nnamespace = 'system-ci'\nlabel = 'ci'\n");
    let found = |call, setting| effective(call, setting);
    let ci = ["doctor", "--config", "--json", "--profile", "ci"];
    let with_flag = ["doctor", "--config", "--json", "--profile", "ci", "--namespace", "flag"];
    let pair = |value: &str, source: &str| (value.to_owned(), source.to_owned());
    let variable = |args: &[&str]| host.dlock(args).env("DLOCK_NAMESPACE", "variable");
    assert_eq!(found(variable(&with_flag), "namespace"), pair("flag", "flag"));
    assert_eq!(found(variable(&ci), "namespace"), pair("variable", "environment"));
    assert_eq!(found(host.dlock(&ci), "namespace"), pair("user-ci", "user-profile"));
    assert_eq!(found(host.dlock(&SHOW).env("DLOCK_PROFILE", "ci"), "namespace"), pair("user-ci", "user-profile"));
    assert_eq!(found(host.dlock(&SHOW), "namespace"), pair("user", "user"));
    assert_eq!(found(host.dlock(&ci), "label"), pair("ci", "system-profile"));
    assert_eq!(found(host.dlock(&SHOW), "label"), pair("system", "system"));
    let without_user = host.dlock(&SHOW).env("DLOCK_CONFIG", "/dev/null");
    assert_eq!(found(without_user, "namespace"), pair("system", "system"));
    assert_eq!(found(Host::new().dlock(&SHOW), "namespace"), pair("dlock", "default"));
}

#[test]
fn a_named_file_stands_in_for_the_users_own_and_the_hosts_still_counts() {
    let host = Host::new().of_user("ttl = '1m'\n").of_system("label = 'system'\n");
    let named = host.home().join("other.toml");
    fs::write(&named, "stop-signal = 'INT'\n").expect("there is room");
    let flag = format!("--config={}", named.display());
    let show = ["doctor", &flag, "--json"];
    assert_eq!(effective(host.dlock(&show), "ttl").1, "default");
    assert_eq!(effective(host.dlock(&show), "stop-signal"), ("INT".to_owned(), "user".to_owned()));
    assert_eq!(effective(host.dlock(&show), "label").1, "system");
    let by_variable = host.dlock(&SHOW).env("DLOCK_CONFIG", &named);
    assert_eq!(effective(by_variable, "stop-signal").0, "INT");
}

/// What is configured is what happens, by every subcommand that locks.
#[test]
fn a_lock_is_where_the_file_says() {
    let place = Place::shared(Kind::Redis);
    let text = format!(
        "redis = ['redis://127.0.0.1:{}']\nnamespace = '{}'\nnonblock = true\nconflict-exit-code = 3\nttl = 20\n",
        place.port(),
        place.namespace
    );
    let host = Host::new().of_user(&text);
    let holder = place.hold("job");
    host.dlock(&["run", "-k", "job", "--", "true"]).finish().exits_with(3).complains(&["held by"]);
    host.dlock(&["run", "-k", "job", "-w", "0.1", "-E", "4", "--", "true"]).finish().exits_with(4);
    let list = host.dlock(&["list", "--json"]).finish().succeeds();
    assert!(list.said().contains(r#""key":"job""#), "{}", list.account());
    holder.let_go();
    holder.wait().succeeds();
    let token = host.dlock(&["acquire", "-k", "job"]).finish().succeeds().said().to_owned();
    assert_eq!(place.status("job")["holders"][0]["ttl_ms"], 20_000);
    host.dlock(&["renew", "-k", "job", "--token", &token]).finish().succeeds();
    host.dlock(&["release", "-k", "job", "--token", &token]).finish().succeeds();
    // A dlock inside reaches the same server by the variables that it finds.
    let inside = "rm \"$HOME/.config/dlock/config.toml\" && \"$0\" run -k other -n -- true";
    host.dlock(&["run", "-k", "job", "--", "sh", "-c", inside, program()]).finish().succeeds();
}

#[test]
fn a_configuration_may_come_through_a_pipe_and_is_not_looked_for_again() {
    let place = Place::shared(Kind::File);
    let script =
        "exec \"$0\" run --config <(echo \"dir = '$1'\") -k job -- sh -c 'echo \"[$DLOCK_CONFIG] $DLOCK_DIR\"'";
    let words = ["-c", script, program(), &place.dir_text()];
    let run = Dlock::of_program("bash".as_ref(), words).finish().succeeds().says_nothing_on_stderr();
    assert_eq!(run.said(), format!("[] {}", place.dir_text()));
}

/// Of a file for cron's jobs: somebody else has it, and all is well. For `acquire` that would be a lie.
#[test]
fn a_conflict_status_of_0_in_a_file_is_not_for_acquire() {
    let place = Place::shared(Kind::File);
    let host = Host::new().of_user(&format!("conflict-exit-code = 0\nnonblock = true\ndir = '{}'\n", place.dir_text()));
    let holder = place.hold("job");
    let options = ["--namespace", &place.namespace, "-k", "job"];
    let call = |words: &[&str]| host.dlock(&words.iter().chain(&options).copied().collect::<Vec<_>>());
    host.dlock(&["run", "--namespace", &place.namespace, "-k", "job", "--", "true"]).finish().succeeds().says_nothing();
    call(&["acquire", "--ttl", "9s"]).finish().exits_with(75).complains(&["held by"]);
    call(&["acquire", "--ttl", "9s", "-E", "0"]).finish().exits_with(64);
    call(&["acquire", "--ttl", "9s"]).env("DLOCK_CONFLICT_EXIT_CODE", "0").finish().exits_with(64);
    holder.let_go();
    holder.wait().succeeds();
}

#[test]
fn of_options_that_exclude_each_other_the_higher_source_decides_and_one_source_may_not_name_two() {
    let place = Place::shared(Kind::File);
    let dir = place.dir_text();
    let host = Host::new()
        .of_user("wait = '0.1'\n[profile.now]\nnonblock = true\n[profile.both]\nslots = 2\nshared = true\n")
        .of_system(&format!(
            "redis = 'redis://127.0.0.1:1'\nnonblock = true\n[profile.now]\ndir = '{dir}'\nbackend = 'file'\n"
        ));
    let holder = place.hold("job");
    let run = |more: &[&str]| {
        let words = ["run", "-k", "job", "--namespace", &place.namespace].into_iter().chain(more.iter().copied());
        host.dlock(&words.chain(["--", "true"]).collect::<Vec<_>>()).finish()
    };
    let refused = run(&["--profile", "now"]).exits_with(75).mentions(&["held by"]);
    assert!(!refused.stderr().contains("gave up"), "it did not wait: {}", refused.account());
    run(&["-b", "file", "--dir", &dir]).exits_with(75).mentions(&["gave up after 100ms"]);
    run(&["--profile", "both", "-b", "file"]).exits_with(78).complains(&[
        "shared in",
        "slots in",
        "exclude each other",
    ]);
    // The file's redis is not honoured by the backend that was named on the command line: ignored, not an error.
    run(&["-b", "file", "--dir", &dir, "-n"]).exits_with(75);
    holder.let_go();
    holder.wait().succeeds();
}

#[test]
fn what_is_wrong_with_a_file_is_78_with_its_line_and_nothing_runs() {
    let broken = |text: &str, words: &[&str]| {
        let host = Host::new().of_system(text);
        host.dlock(&["run", "-b", "file", "-k", "job", "--", "echo", "ran"]).finish().exits_with(78).complains(words)
    };
    assert!(
        broken("\ntll = 3\n", &["/etc/dlock/config.toml line 2, column 1", "tll", "did you mean \"ttl\"?"])
            .stdout
            .is_empty()
    );
    broken("ttl = [\n", &["invalid TOML in /etc/dlock/config.toml line"]);
    broken("ttl = true\n", &["ttl in /etc/dlock/config.toml line 1, column 7", "boolean"]);
    broken("ttl = 'soon'\n", &["invalid ttl in /etc/dlock/config.toml line 1, \"soon\""]);
    broken("[profile.x]\nno-such = 1\n", &["no-such"]);
    let missing = ["run", "-k", "job", "--config", "/nonexistent/x.toml", "--", "true"];
    Host::new().dlock(&missing).finish().exits_with(78).complains(&["cannot read --config \"/nonexistent/x.toml\""]);
    let profile = ["list", "--profile", "nowhere"];
    Host::new().dlock(&profile).finish().exits_with(78).complains(&["invalid --profile \"nowhere\""]);
    Host::new().dlock(&["list"]).env("DLOCK_PROFILE", "x").finish().exits_with(78).complains(&["DLOCK_PROFILE \"x\""]);
}

/// Any user but root, without a name that would have to exist.
const NOBODY: u32 = 65534;

#[test]
fn a_file_that_this_user_may_not_read_is_told_and_a_home_where_it_may_not_look_is_not() {
    let place = Place::shared(Kind::Redis);
    let dlock = open_to_all();
    let host = Host::new().of_user("ttl = '1m'\n");
    let call = |home: &Path| {
        let words = ["run", "-k", "job"].into_iter().map(str::to_owned).chain(place.options());
        let call = Dlock::of_program(&dlock.path().join("dlock"), words.chain(["true".to_owned()]));
        // Root may read anything.
        let call = if nix::unistd::geteuid().is_root() { call.by_user(NOBODY) } else { call };
        call.env("HOME", home).cwd("/".as_ref()).finish()
    };
    fs::set_permissions(host.home(), Permissions::from_mode(0o000)).expect("it is ours");
    call(&host.home()).succeeds().says_nothing();
    fs::set_permissions(host.home(), Permissions::from_mode(0o755)).expect("it is ours");
    fs::set_permissions(host.directory.path(), Permissions::from_mode(0o755)).expect("it is ours");
    fs::set_permissions(host.user_file(), Permissions::from_mode(0o000)).expect("it is ours");
    call(&host.home()).exits_with(78).complains(&["cannot read", "Permission denied"]);
}

/// A copy of dlock that every user may run.
fn open_to_all() -> TempDir {
    let directory = TempDir::with_prefix("dlock-program-").expect("the temporary directory takes files");
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("it is ours");
    crate::support::install_program(program().as_ref(), &directory.path().join("dlock"));
    directory
}

#[test]
fn a_password_in_a_file_works_is_never_shown_and_is_warned_about_where_all_may_read_it() {
    let place = Place::private(Kind::Redis);
    let mut redis = place.redis();
    let () = redis::cmd("CONFIG").arg(&["SET", "requirepass", "s3cret"]).query(&mut redis).expect("it serves");
    let text = format!("redis = 'redis://127.0.0.1:{}'\nredis-password = 's3cret'\n", place.port());
    let host = Host::new().of_user(&text);
    fs::set_permissions(host.user_file(), Permissions::from_mode(0o600)).expect("it is ours");
    let silent = |finished: Finished| {
        assert!(!format!("{}{}", finished.stderr(), finished.said()).contains("s3cret"), "{}", finished.account());
        finished
    };
    let inside = "env | grep s3cret; \"$0\" run -n -k inner -- true";
    let run = ["run", "-k", "job", "--", "sh", "-c", inside, program()];
    silent(host.dlock(&run).finish()).succeeds().says_nothing();
    silent(host.dlock(&SHOW).finish()).succeeds().says_nothing_on_stderr();

    fs::set_permissions(host.user_file(), Permissions::from_mode(0o644)).expect("it is ours");
    let warned = silent(host.dlock(&["run", "-k", "job", "--", "true"]).finish()).succeeds();
    warned.complains(&["config.toml holds a password", "chmod 600"]);
    silent(host.dlock(&["run", "-q", "-k", "job", "--", "true"]).finish()).succeeds().says_nothing();

    // A profile that was named by an option: the dlock inside finds the password there, too.
    let profile = text.replacen("redis = ", "[profile.prod]\nredis = ", 1);
    let file = host.home().join("named.toml");
    fs::write(&file, profile).expect("there is room");
    fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("it is ours");
    fs::remove_file(host.user_file()).expect("it was there");
    let named = ["run", "--config", "named.toml", "--profile", "prod", "-k", "job", "--", "sh", "-c"];
    let words: Vec<&str> = named.into_iter().chain(["cd / && eval \"$0\"", inside]).collect();
    let inside = inside.replace("$0", program());
    let words: Vec<&str> = words[..words.len() - 1].iter().copied().chain([inside.as_str()]).collect();
    silent(host.dlock(&words).cwd(&host.home()).finish()).succeeds().says_nothing();
}

#[test]
fn doctor_shows_every_setting_with_its_source_and_what_is_wrong_last() {
    let host = Host::new().of_user("redis = 'redis://u:s3cret@r1'\nttl = '1m'\n[profile.bad]\nwait = 'soon'\n");
    fs::set_permissions(host.user_file(), Permissions::from_mode(0o600)).expect("it is ours");
    let shown = host.dlock(&["doctor", "--config"]).env("DLOCK_ZK", "z1").finish().succeeds().says_nothing_on_stderr();
    let row = |key: &str| {
        let found = shown.said().lines().find(|line| line.split_whitespace().next() == Some(key));
        found.unwrap_or_else(|| panic!("{key} is shown: {}", shown.account())).to_owned()
    };
    assert!(row("backend").contains("zk") && row("backend").ends_with("DLOCK_ZK"), "{}", row("backend"));
    assert!(row("redis").contains("redis://u:***@r1") && row("redis").ends_with("(not used: the backend is zk)"));
    assert!(row("ttl").contains("1m") && row("ttl").ends_with("config.toml line 2"), "{}", row("ttl"));
    assert!(row("stop-signal").contains("TERM") && row("stop-signal").ends_with("default"));
    let bad = host.dlock(&["doctor", "--config", "--profile", "bad"]).finish().exits_with(78);
    assert!(bad.said().contains("soon"), "all is shown: {}", bad.account());
    bad.complains(&["invalid wait in", "line 4, \"soon\""]);
}

/// Every job starts with it: two files that are not there cost two calls that fail.
#[test]
fn without_files_the_start_costs_two_failed_opens_and_nothing_more() {
    let place = Place::shared(Kind::File);
    let trace = place.dir().join("trace");
    let args = ["-f", "-o", trace.to_str().expect("a plain name"), program(), "run"];
    let args = args.into_iter().map(str::to_owned).chain(place.options());
    let args = args.chain(["-k", "job", "--", "true"].map(str::to_owned));
    let host = Host::new();
    let args: Vec<String> = args.collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    host.call("strace", &args).finish().succeeds();
    let traced = fs::read_to_string(&trace).expect("strace wrote it");
    let touching: Vec<&str> = traced.lines().filter(|line| line.contains("config.toml")).collect();
    assert_eq!(touching.len(), 2, "{touching:#?}");
    for (call, file) in touching.iter().zip([".config/dlock/config.toml\"", "\"/etc/dlock/config.toml\""]) {
        assert!(call.contains("open") && call.contains(file) && call.contains("ENOENT"), "{call}");
    }
    let first = traced.lines().position(|line| line == touching[0]).expect("it is one of them");
    assert_eq!(traced.lines().nth(first + 1), Some(touching[1]), "nothing stands between them");
}

/// Services and `env -i` have none; cron sets it.
#[test]
fn without_home_the_users_file_is_below_the_home_of_passwd() {
    let host = Host::new().of_user("label = 'mine'\n");
    let passwd = format!("me:x:{}:0::{}:/bin/sh\n", nix::unistd::geteuid(), host.home().display());
    fs::write(host.directory.path().join("etc/passwd"), passwd).expect("there is room");
    let call = host.call("env", &["-u", "HOME", program(), "doctor", "--config", "--json"]);
    assert_eq!(effective(call, "label"), ("mine".to_owned(), "user".to_owned()));
}
