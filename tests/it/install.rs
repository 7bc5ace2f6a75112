//! `install.sh` puts what it says where it says, and takes away exactly that. The build is played by a script.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::{Dlock, Finished, install_program, install_script};

/// Answers what the script asks of cargo, with a "binary" that says which target it was built for.
const CARGO: &str = r#"#!/bin/sh
cd "$(dirname "$0")/.." || exit
while [ "$1" != --target ]; do
    shift
done
mkdir -p built
printf '#!/bin/sh\necho "%s"\n' "$2" >built/dlock
chmod 755 built/dlock
printf '{"reason":"compiler-artifact","executable":null}\n'
printf '{"reason":"compiler-artifact","executable":"%s/built/dlock","fresh":false}\n' "$PWD"
printf '{"reason":"build-finished","success":true}\n'
"#;

/// A Rust on some host, which has what `std/TARGET` is there for.
const RUSTC: &str = r#"#!/bin/sh
case $* in
    -vV) echo "host: $HOST" ;;
    '--print target-libdir --target '*) echo "$(dirname "$0")/../std/$4" ;;
    *) exit 1 ;;
esac
"#;

/// Has what it is asked for.
const RUSTUP: &str = r#"#!/bin/sh
[ "$1 $2" = "target add" ] && mkdir -p "$(dirname "$0")/../std/$3"
"#;

const GNU: &str = "x86_64-unknown-linux-gnu";
const MUSL: &str = "x86_64-unknown-linux-musl";

struct Project {
    dir: TempDir,
}

impl Project {
    fn new() -> Self {
        let dir = TempDir::with_prefix("dlock-install-").expect("the temporary directory takes files");
        let project = Self { dir };
        for name in ["tools", "man", "completions", ".cargo"] {
            fs::create_dir(project.path(name)).expect("a fresh directory takes more");
        }
        for script in ["install.sh", ".cargo/target.sh"] {
            install_program(&Path::new(env!("CARGO_MANIFEST_DIR")).join(script), &project.path(script));
        }
        install_script(CARGO, &project.path("tools/cargo"));
        install_script(RUSTC, &project.path("tools/rustc"));
        for generated in ["man/dlock.1", "man/dlock-run.1", "completions/dlock.bash", "completions/_dlock"] {
            fs::write(project.path(generated), "text\n").expect("a fresh directory takes files");
        }
        fs::write(project.path("completions/dlock.fish"), "text\n").expect("a fresh directory takes files");
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn install(&self, args: &[&str], more_path: &str) -> Dlock {
        let path = std::env::var("PATH").expect("PATH is set");
        let tools = self.path("tools").display().to_string();
        let install = Dlock::of_program(&self.path("install.sh"), args);
        install.env("PATH", format!("{tools}:{more_path}{path}")).env("HOST", "some-host")
    }

    #[track_caller]
    fn installed(&self, args: &[&str]) -> Finished {
        self.install(args, "").cwd(self.dir.path()).finish().succeeds()
    }

    /// Everything below `directory`, relative to it.
    fn below(&self, directory: &str) -> BTreeSet<String> {
        let root = self.path(directory);
        let mut found = BTreeSet::new();
        let mut unseen = vec![root.clone()];
        while let Some(next) = unseen.pop() {
            for path in fs::read_dir(&next).into_iter().flatten().flatten().map(|entry| entry.path()) {
                let relative = path.strip_prefix(&root).expect("it is below").display().to_string();
                if path.is_dir() {
                    unseen.push(path);
                } else {
                    found.insert(relative);
                }
            }
        }
        found
    }
}

#[test]
fn everything_goes_below_the_prefix_and_uninstall_takes_exactly_that_away() {
    let project = Project::new();
    fs::create_dir_all(project.path("a prefix/share/man/man1")).expect("a fresh directory takes more");
    fs::write(project.path("a prefix/share/man/man1/other.1"), "somebody else's\n").expect("it takes files");
    let said = project.installed(&["--prefix", "a prefix"]);
    assert_eq!(
        project.below("a prefix"),
        [
            "bin/dlock",
            "share/bash-completion/completions/dlock",
            "share/dlock/installed",
            "share/fish/vendor_completions.d/dlock.fish",
            "share/man/man1/dlock-run.1",
            "share/man/man1/dlock.1",
            "share/man/man1/other.1",
            "share/zsh/site-functions/_dlock",
        ]
        .map(str::to_owned)
        .into(),
        "{}",
        said.account()
    );
    let binary = project.path("a prefix/bin/dlock");
    assert_eq!(fs::metadata(&binary).expect("it is there").permissions().mode() & 0o777, 0o755);
    let bin = project.path("a prefix/bin").display().to_string();
    assert!(said.said().contains(&format!("export PATH=\"{bin}:$PATH\"")), "{}", said.account());

    project.installed(&["--prefix=a prefix", "--uninstall"]);
    assert_eq!(project.below("a prefix"), ["share/man/man1/other.1".to_owned()].into());
    assert!(!project.path("a prefix/bin").exists(), "a directory that it made goes, too");
    let nothing = project.install(&["--prefix", "a prefix", "--uninstall"], "").cwd(project.dir.path()).finish();
    assert!(nothing.exits_with(1).stderr().contains("nothing was installed"));
}

#[test]
fn a_newer_install_takes_away_what_only_the_older_had() {
    let project = Project::new();
    project.installed(&["--prefix", "p"]);
    fs::remove_file(project.path("man/dlock-run.1")).expect("it is ours");
    project.installed(&["--prefix", "p"]);
    assert!(!project.path("p/share/man/man1/dlock-run.1").exists());
    project.installed(&["--prefix", "p", "--uninstall"]);
    assert_eq!(fs::read_dir(project.path("p")).expect("the prefix stays").count(), 0);
}

#[test]
fn destdir_stands_before_the_prefix() {
    let project = Project::new();
    let call = project.install(&["--prefix", "/usr"], "").env("DESTDIR", project.path("dest"));
    call.finish().succeeds();
    assert!(project.path("dest/usr/bin/dlock").exists());
}

#[test]
fn a_directory_that_is_in_path_needs_no_advice() {
    let project = Project::new();
    let bin = project.path("p/bin").display().to_string();
    let prefix = project.path("p").display().to_string();
    let said = project.install(&["--prefix", &prefix], &format!("{bin}:")).finish().succeeds();
    assert!(!said.said().contains("export PATH"), "{}", said.account());
}

#[test]
fn the_default_for_root_is_usr_local_and_for_others_their_own() {
    let project = Project::new();
    // DESTDIR keeps it away from the real one.
    let dest = project.path("dest");
    project.install(&[], "").env("DESTDIR", &dest).env("HOME", "/home/somebody").finish().succeeds();
    let prefix = if nix::unistd::geteuid().is_root() { "usr/local" } else { "home/somebody/.local" };
    assert!(dest.join(prefix).join("bin/dlock").exists(), "{:?}", project.below("dest"));
}

#[test]
fn an_option_that_it_does_not_know_is_a_usage_error() {
    let project = Project::new();
    let refused = project.install(&["--perfix", "p"], "").finish().exits_with(64);
    assert!(refused.stderr().contains("usage:"), "{}", refused.account());
}

/// The target that the installed program was built for.
fn installed_for(project: &Project, install: Dlock) -> (Finished, String) {
    let said = install.cwd(project.dir.path()).finish().succeeds();
    let told = Dlock::of_program(&project.path("p/bin/dlock"), [""; 0]).finish().succeeds();
    (said, told.said().to_owned())
}

#[test]
fn it_is_built_with_musl_where_rust_has_that_or_rustup_gets_it() {
    let args = ["--prefix", "p"];
    // A distribution's Rust.
    let project = Project::new();
    install_script("#!/bin/sh\nexit 1\n", &project.path("tools/rustup"));
    let (said, target) = installed_for(&project, project.install(&args, "").env("HOST", GNU));
    assert_eq!(target, GNU);
    assert!(said.stderr().contains(&format!("rustup target add {MUSL}")), "{}", said.account());

    fs::create_dir_all(project.path("std").join(MUSL)).expect("a fresh directory takes more");
    let (said, target) = installed_for(&project, project.install(&args, "").env("HOST", GNU));
    assert_eq!((target.as_str(), said.stderr()), (MUSL, ""));

    let project = Project::new();
    install_script(RUSTUP, &project.path("tools/rustup"));
    let (_, target) = installed_for(&project, project.install(&args, "").env("HOST", GNU));
    assert_eq!(target, MUSL);

    // Others' processors do not mind the question.
    let (_, target) = installed_for(&project, project.install(&args, "").env("HOST", "aarch64-unknown-linux-gnu"));
    assert_eq!(target, "aarch64-unknown-linux-gnu");
    let decided = project.install(&args, "").env("HOST", GNU).env("CARGO_BUILD_TARGET", GNU);
    assert_eq!(installed_for(&project, decided).1, GNU);
}

#[test]
fn a_build_that_fails_installs_nothing() {
    let project = Project::new();
    install_script("#!/bin/sh\necho 'error: no linker' >&2\nexit 101\n", &project.path("tools/cargo"));
    let failed = project.install(&["--prefix", "p"], "").cwd(project.dir.path()).finish().exits_with(1);
    assert!(
        failed.stderr().contains("no linker") && failed.stderr().contains("the build failed"),
        "{}",
        failed.account()
    );
    assert!(!project.path("p").exists());
}
