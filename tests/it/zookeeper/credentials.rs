//! Who asks, and what the nodes allow to others; by the real binary.

use std::time::Duration;

use dlock::backend::zookeeper::{Access, AclPolicy, Config, ConnectString, Credentials, Family, ZooKeeperBackend};
use dlock::lock::{Acquired, LockBackend, Namespace};
use zookeeper_client::{Acl, Acls, AuthId, Client, CreateMode, Permission};

use super::ensemble::{ZooKeeper, contenders};
use super::{claim, granted, in_time, one_shot, silently, waiting};
use crate::support::{Dlock, Finished, program};

const PASSWORD: &str = "pass:word%2";
const HOLD: [&str; 4] = ["--", "sh", "-c", "echo ready; cat >/dev/null"];

/// A file that says who asks.
struct AuthFile(tempfile::NamedTempFile);

impl AuthFile {
    fn new(line: &str) -> Self {
        let file = tempfile::NamedTempFile::new().expect("the temporary directory takes files");
        std::fs::write(file.path(), format!("{line}\n")).expect("our own file can be written");
        Self(file)
    }

    fn of(user: &str) -> Self {
        Self::new(&format!("{user}:{PASSWORD}"))
    }

    fn path(&self) -> &str {
        self.0.path().to_str().expect("temporary files have plain names")
    }
}

/// `dlock` with these words, the server and the namespace behind the first of them.
fn by(namespace: &str, words: &[&str]) -> Dlock {
    let server = ZooKeeper::shared().address();
    let (verb, rest) = words.split_first().expect("a subcommand comes first");
    Dlock::new([&[*verb, "--zk", &server, "--namespace", namespace], rest].concat())
}

#[track_caller]
fn refused(finished: Finished, status: i32, words: &[&str]) {
    let finished = finished.exits_with(status).complains(words);
    assert!(!finished.account().contains(PASSWORD), "{}", finished.account());
}

/// The ACL of a node, each entry as `scheme:permissions`.
async fn acl(client: &Client, path: &str) -> Vec<String> {
    let (acls, _) = client.get_acl(path).await.expect("anybody may ask");
    let letter = |acl: &Acl, permission, letter| if acl.permission().has(permission) { letter } else { "" };
    let shown = |acl: &Acl| {
        let letters = [
            letter(acl, Permission::CREATE, "c"),
            letter(acl, Permission::DELETE, "d"),
            letter(acl, Permission::READ, "r"),
            letter(acl, Permission::WRITE, "w"),
            letter(acl, Permission::ADMIN, "a"),
        ];
        format!("{}:{}", acl.scheme(), letters.concat())
    };
    acls.iter().map(shown).collect()
}

#[tokio::test]
async fn what_others_may_do_is_what_the_options_say() {
    let file = AuthFile::of("locker");
    // A new one each time: its session would not outlast the calls, which keep this thread from sending pings.
    let looking = async || {
        let outside = ZooKeeper::shared().client().await;
        outside.auth("digest", format!("locker:{PASSWORD}").as_bytes()).await.expect("it takes anybody");
        outside
    };
    let open: &[&str] = &["world:cdrwa"];
    let named = ["--zk-auth-file", file.path()];
    for (namespace, options, contender, above) in [
        ("acl-none", &[][..], open, open),
        ("acl-default", &named, &["digest:cdrwa", "world:r"], open),
        ("acl-open", &[&named[..], &["--zk-acl", "open"]].concat(), open, open),
        ("acl-creator", &[&named[..], &["--zk-acl", "creator"]].concat(), &["digest:cdrwa"], &["digest:cdrwa"]),
    ] {
        let holder = by(namespace, &[&["run", "-k", "job"], options, &HOLD].concat()).stdin_open().start();
        holder.says("ready");
        let outside = looking().await;
        let directory = format!("/{namespace}/job");
        let names = contenders(&outside, &directory).await;
        let [name] = &names[..] else { panic!("one contender, not {names:?}") };
        assert_eq!(acl(&outside, &format!("{directory}/{name}")).await, contender, "{namespace}");
        assert_eq!(acl(&outside, &directory).await, above, "{namespace}");
        assert_eq!(acl(&outside, &format!("/{namespace}")).await, above, "{namespace}");
        holder.let_go();
        holder.wait().succeeds();
        // A lease that outlives its session is protected alike.
        let words = [&["acquire", "-n", "--ttl", "1m", "-k", "errand"], options].concat();
        let token = by(namespace, &words).finish().succeeds();
        let outside = looking().await;
        let directory = format!("/{namespace}/errand");
        let names = contenders(&outside, &directory).await;
        assert_eq!(acl(&outside, &format!("{directory}/{}", names[0])).await, contender, "{namespace}");
        let words = [&["release", "-k", "errand", "--token", token.said()], options].concat();
        by(namespace, &words).finish().succeeds();
    }
}

#[test]
fn what_is_the_creators_alone_is_kept_from_strangers_and_wrong_passwords() {
    let file = AuthFile::of("locker");
    let creator = ["--zk-auth-file", file.path(), "--zk-acl", "creator"];
    let holder = by("walled", &[&["run", "-k", "job"], &creator[..], &HOLD].concat()).stdin_open().start();
    holder.says("ready");
    by("walled", &[&["status", "-k", "job"], &creator[..]].concat()).finish().succeeds();
    refused(
        by("walled", &[&["run", "-n", "-k", "job"], &creator[..], &["--", "true"]].concat()).finish(),
        75,
        &["held"],
    );
    let (stranger, slip) = (AuthFile::of("stranger"), AuthFile::new(&format!("locker:not-{PASSWORD}")));
    let token = "0123456789abcdef0123456789abcdef";
    for who in [&[][..], &["--zk-auth-file", stranger.path()], &["--zk-auth-file", slip.path()]] {
        for (words, rest) in [
            (&["run", "-n", "-k", "job"][..], &["--", "true"][..]),
            (&["run", "-k", "job"], &["--", "true"]),
            (&["run", "-k", "other"], &["--", "true"]),
            (&["acquire", "-n", "--ttl", "1m", "-k", "other"], &[]),
            (&["status", "-k", "job"], &[]),
            (&["list"], &[]),
            (&["release", "-k", "job", "--token", token], &[]),
            (&["renew", "-k", "job", "--token", token], &[]),
        ] {
            let finished = by("walled", &[words, who, rest].concat()).finish();
            refused(finished, 77, &["forbids it; name a user whom it lets with --zk-auth-file"]);
        }
    }
    holder.let_go();
    holder.wait().succeeds();
}

#[tokio::test]
async fn a_namespace_with_somebody_elses_acl_is_a_matter_of_permission() {
    let outside = ZooKeeper::shared().client().await;
    let theirs = [Acl::new(Permission::ALL, AuthId::new("digest", "other:AAAAAAAAAAAAAAAAAAAAAAAAAAA="))];
    let owned = CreateMode::Persistent.with_acls(Acls::new(&theirs));
    outside.create("/theirs", b"", &owned).await.expect("a node");
    let file = AuthFile::of("locker");
    for who in [&[][..], &["--zk-auth-file", file.path()]] {
        let words = [&["run", "-k", "job"], who, &["--", "true"]].concat();
        refused(by("theirs", &words).finish(), 77, &["the key's node, or of one above it, forbids it"]);
    }
}

#[tokio::test]
async fn users_with_passwords_of_their_own_share_a_lock_and_its_queue() {
    let (one, two) = (AuthFile::of("one"), AuthFile::of("two"));
    let call = |who: &AuthFile, rest: &[&str]| {
        by("mixed", &[&["run", "--zk-auth-file", who.path(), "-k", "job"], rest].concat())
    };
    let holder = call(&one, &HOLD).stdin_open().start();
    holder.says("ready");
    let waiter = call(&two, &["--", "echo", "ran"]).start();
    let outside = ZooKeeper::shared().client().await;
    super::eventually("it waits", async || contenders(&outside, "/mixed/job").await.len() == 2).await;
    holder.let_go();
    assert_eq!(waiter.wait().succeeds().said(), "ran");
    holder.wait().succeeds();
}

fn backend_of(server: &ZooKeeper, user: &str) -> ZooKeeperBackend {
    let credentials = Credentials::parse(&format!("{user}:{PASSWORD}")).expect("a user and a password");
    let access = Access { credentials: Some(credentials), acl: AclPolicy::Contenders, ..Access::default() };
    let servers = ConnectString::parse(&server.address()).expect("a valid connect string");
    let namespace = Namespace::new("dlock").expect("a valid namespace");
    ZooKeeperBackend::open(&Config { servers, namespace, access, family: Family::Dlock, fence_floor: 0 })
        .expect("nothing is sent yet")
}

#[tokio::test]
async fn another_users_lease_ends_by_time_also_under_another_leader() {
    let mut server = ZooKeeper::start_electing();
    let ttl = Duration::from_secs(2);
    let ours = backend_of(&server, "one");
    granted(&ours, &one_shot("errand", ttl)).await;
    ours.close().await;
    server.kill();
    server.start_again();
    let restarted = std::time::Instant::now();
    let other = backend_of(&server, "two");
    assert!(matches!(in_time(other.acquire(&claim("errand"), &silently)).await, Ok(Acquired::Held(_))));
    let acquired = in_time(other.acquire(&waiting("errand"), &silently)).await;
    assert!(matches!(acquired, Ok(Acquired::Granted(_))), "{acquired:?}");
    assert!(restarted.elapsed() >= ttl, "it has started anew: {:?}", restarted.elapsed());
    other.close().await;
}

#[test]
fn the_command_is_led_to_the_same_user_by_a_path_and_sees_no_secret() {
    let file = AuthFile::of("locker");
    let script = "env; exec \"$0\" status -k job --json";
    let options = ["--zk-auth-file", file.path(), "--zk-acl", "creator"];
    let rest = ["--", "sh", "-c", script, program()];
    let finished = by("led", &[&["run", "-k", "job"], &options[..], &rest].concat()).finish().succeeds();
    let said = finished.said();
    assert!(said.contains(&format!("DLOCK_ZK_AUTH_FILE={}\n", file.path())), "{said}");
    assert!(said.contains("DLOCK_ZK_ACL=creator\n") && !said.contains(PASSWORD), "{said}");
    assert!(said.contains(r#""state":"held""#), "{said}");
    let from_variables = by("led", &["status", "-k", "job"]).env("DLOCK_ZK_AUTH_FILE", file.path());
    from_variables.finish().succeeds();
}

#[test]
fn what_is_no_user_and_password_is_a_wrong_set_up_and_is_not_repeated() {
    let (empty, no_colon) = (AuthFile::new(""), AuthFile::new("secretword"));
    let (no_user, no_password, good) = (AuthFile::new(":secretword"), AuthFile::new("locker:"), AuthFile::of("locker"));
    for (options, status, words) in [
        (&["--zk-auth-file", "/nonexistent"][..], 78, r#"cannot read --zk-auth-file "/nonexistent": No such file"#),
        (&["--zk-auth-file", empty.path()], 78, "its first line is empty"),
        (&["--zk-auth-file", no_colon.path()], 78, "it has no colon; write user:password"),
        (&["--zk-auth-file", no_user.path()], 78, "no user before the colon"),
        (&["--zk-auth-file", no_password.path()], 78, "no password after the colon"),
        (&["--zk-acl", "creator"], 64, "nobody would be the creator; say who you are with --zk-auth-file"),
        (
            &["--zk-acl", "closed", "--zk-auth-file", good.path()],
            64,
            r#"invalid --zk-acl "closed": use open or creator"#,
        ),
    ] {
        let finished = by("wrong", &[&["run", "-k", "job"], options, &["--", "true"]].concat()).finish();
        assert!(!finished.account().contains("secretword"), "{}", finished.account());
        refused(finished, status, &[words]);
    }
    for option in ["--zk-auth-file", "--zk-acl"] {
        let foreign = Dlock::new(["run", "--redis", "redis://127.0.0.1:1", option, "open", "-k", "job", "--", "true"]);
        foreign.finish().exits_with(64).mentions(&[&format!("{option} belongs to the zk backend")]);
    }
}
