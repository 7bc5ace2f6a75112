//! What others wrote, read by the code that ships: a function for each kind, which panics where a promise is broken.

mod listings;
mod lock_files;
mod promises;
mod redis;
mod settings;
mod texts;
mod zookeeper;

/// One kind of input; its corpus is the folder of the same name.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&[u8]),
}

pub(crate) const ALL: [Target; 12] = [
    Target { name: "configuration", run: settings::configuration },
    Target { name: "fence-file", run: texts::fence_file },
    Target { name: "held-above", run: settings::held_above },
    Target { name: "holder", run: texts::holder },
    Target { name: "key", run: texts::key },
    Target { name: "lock-file", run: lock_files::lock_file },
    Target { name: "option", run: settings::option },
    Target { name: "proc-stat", run: texts::proc_stat },
    Target { name: "redis-server", run: redis::server },
    Target { name: "redis-url", run: settings::redis_url },
    Target { name: "zookeeper-server", run: zookeeper::server },
    Target { name: "zookeeper-url", run: settings::zookeeper_url },
];
