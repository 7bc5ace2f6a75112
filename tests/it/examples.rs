//! `docs/examples/`, run as they stand there: only addresses are put in the place of others, and programs that they call are
//! played by scripts.

mod ci;
mod cron;
mod leader;
mod orchestrators;
mod pages;
mod readme;
mod service;
mod shells;

use std::fs;
use std::path::Path;

use nix::sys::stat::Mode;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Dlock, Place, eventually, install_script, path_with_dlock, program};

/// The addresses of the examples.
const REDIS: &str = "redis://locks.example.com";
const ZOOKEEPER: &str = "z1:2181,z2:2181,z3:2181";

/// Notes that it has started, and lasts until it is let go: `started` and `go` stand in the current directory.
const LASTS: &str = "#!/bin/sh\necho \"$*\" >>started\ncat go >/dev/null\n";

/// Notes what it was called with.
const NOTES: &str = "#!/bin/sh\necho \"${0##*/} $*\" >>calls\n";

fn example(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A value of the manifest, by a path as `spec.template.0.name`.
#[track_caller]
fn at<'a>(manifest: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(manifest, |value, name| {
        let next = name.parse::<usize>().map_or_else(|_| value.get(name), |index| value.get(index));
        next.unwrap_or_else(|| panic!("{path} is there: no {name} in {value}"))
    })
}

#[track_caller]
fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text: {value}"))
}

/// A host, an agent or a container: a directory with the programs that an example calls, which lock at one place.
struct Host<'a> {
    place: &'a Place,
    directory: TempDir,
}

impl<'a> Host<'a> {
    fn new(place: &'a Place, programs: &[(&str, &str)]) -> Self {
        let directory = TempDir::with_prefix("dlock-host-").expect("the temporary directory takes files");
        fs::create_dir(directory.path().join("bin")).expect("it is empty");
        nix::unistd::mkfifo(&directory.path().join("go"), Mode::S_IRWXU).expect("it is empty");
        let host = Self { place, directory };
        for (name, text) in programs {
            install_script(text, &host.directory.path().join("bin").join(name));
        }
        host
    }

    /// The example with this place in it.
    fn fitted(&self, text: &str) -> String {
        let (_, server) = &self.place.environment()[0];
        let bin = format!("{}/", self.directory.path().join("bin").display());
        let text = text.replace("/usr/local/bin/dlock ", &format!("{} ", program()));
        // A chroot below the namespace would have to exist.
        let text = text.replace(&format!("{ZOOKEEPER}/ci"), server).replace(ZOOKEEPER, server);
        text.replace(REDIS, server).replace("/usr/local/bin/", &bin)
    }

    /// What finds the programs of this host and dlock, and locks at its place.
    fn call<'w>(&self, words: impl IntoIterator<Item = &'w str>) -> Dlock {
        let mut words = words.into_iter();
        let program = words.next().expect("there is a program");
        self.at_home(Dlock::of_program(program.as_ref(), words))
    }

    fn at_home(&self, call: Dlock) -> Dlock {
        call.cwd(self.directory.path()).env("PATH", self.search_path()).env("DLOCK_NAMESPACE", &self.place.namespace)
    }

    fn search_path(&self) -> String {
        let bin = self.directory.path().join("bin").display().to_string();
        format!("{bin}:{}", path_with_dlock().to_str().expect("plain names"))
    }

    fn sh(&self, line: &str) -> Dlock {
        self.call(["/bin/sh", "-c", line])
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.directory.path().join(file)).unwrap_or_default()
    }

    #[track_caller]
    fn has_started(&self) {
        eventually("the job runs", || !self.read("started").is_empty());
    }

    /// Ends the job that lasts; waits until it reads.
    fn lets_go(&self) {
        fs::write(self.directory.path().join("go"), "go\n").expect("a job reads it");
    }
}

/// Whatever stands in the folder is told of in the list of examples, and the other way round.
#[test]
fn the_list_of_examples_is_complete() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples");
    let list = example("README.md");
    let mut folders = 0;
    for entry in fs::read_dir(&root).expect("it is there").flatten().filter(|entry| entry.path().is_dir()) {
        folders += 1;
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(list.contains(&format!("({name}/README.md)")), "{name} is in the list");
        let readme = example(&format!("{name}/README.md"));
        for file in fs::read_dir(entry.path()).expect("it is there").flatten() {
            let file = file.file_name().to_string_lossy().into_owned();
            assert!(file == "README.md" || readme.contains(&file), "{name}/README.md tells of {file}");
        }
    }
    assert_eq!(list.matches("/README.md)").count(), folders);
    for link in list.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(root.join(link).exists(), "{link}");
    }
}
