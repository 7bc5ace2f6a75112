//! Where a torture takes place: servers, the ways to them, and what may go wrong there.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::crew::Shape;
use super::nemesis::{Betrayal, CutOff, Disk, Ensemble, Failovers, Links, Masters, Migrations, Nemesis, Redis};
use crate::support::{Cluster, Kind, Place, Proxy, Server, SteppedClock, Watched};

pub(super) struct Arena {
    /// The options of dlock that say where to lock; the crew is spread over them.
    pub(super) places: Vec<Vec<String>>,
    pub(super) inspected: Vec<Inspected>,
    pub(super) nemeses: Vec<Box<dyn Nemesis>>,
    /// Whether `release --force` can take a lock from who runs.
    pub(super) may_be_forced: bool,
    /// Whether jobs are killed and stopped.
    pub(super) are_struck: bool,
    pub(super) shape: Shape,
}

/// A corner that is looked at in the end.
pub(super) struct Inspected(Place);

impl Inspected {
    /// The names of what should not be there when nobody holds or waits.
    pub(super) fn left_behind(&self) -> Vec<String> {
        let names = self.0.footprint();
        let stays = |name: &str| match self.0.kind {
            // Fences have to outlive their locks, and so has word of a release: what comes late must learn of it.
            Kind::Redis => name.ends_with(":fence") || name.ends_with(":receipts"),
            // A key's directory, which the server removes once it was empty for a while, and nothing in it.
            Kind::ZooKeeper => name.matches('/').count() <= 2,
            Kind::File => true,
        };
        names.into_iter().filter(|name| !stays(name)).collect()
    }
}

/// The same corner by as many ways as there are ports.
fn ways(place: &Place, ports: &[u16]) -> Vec<Vec<String>> {
    ports.iter().map(|port| place.through(*port).options()).collect()
}

/// Several ways to one server, so that some of the crew can be cut off and others not.
fn links_to(port: u16) -> Vec<Arc<Proxy>> {
    (0..3).map(|_| Arc::new(Proxy::before(port))).collect()
}

fn ports(links: &[Arc<Proxy>]) -> Vec<u16> {
    links.iter().map(|link| link.port).collect()
}

pub(super) fn on_a_small_disk() -> Arena {
    let disk = Disk::new();
    let place = Place::shared(Kind::File);
    let mut options = place.options();
    let dir = options.iter().position(|option| *option == place.dir_text()).expect("the file backend has a directory");
    options[dir] = disk.path().to_str().expect("temporary directories have plain names").to_owned();
    Arena {
        places: vec![options],
        inspected: Vec::new(),
        nemeses: vec![Box::new(disk)],
        may_be_forced: false,
        are_struck: true,
        shape: Shape::Crowd,
    }
}

pub(super) fn on_redis() -> Arena {
    let clock = Arc::new(SteppedClock::new());
    let server = Server::redis_on(&clock);
    let place = Place::at_port(Kind::Redis, server.port);
    let links = links_to(server.port);
    let places = ways(&place, &ports(&links));
    let server = Arc::new(Mutex::new(server));
    Arena {
        places,
        inspected: vec![Inspected(place)],
        nemeses: vec![Box::new(Redis { server, clock: Some(clock) }), Box::new(Links(links))],
        may_be_forced: true,
        are_struck: true,
        shape: Shape::Crowd,
    }
}

/// Two contenders, one of them far away from the server: between one of its requests and the next the other comes and goes.
/// Were both far away, who gives back to somebody that waits would ask twice, and be as late. Nothing else is wrong.
pub(super) fn on_redis_far_away() -> Arena {
    let links: Vec<Arc<Proxy>> = (0..2).map(|_| Arc::new(Proxy::before(Server::shared_redis().port))).collect();
    links[1].slow_down(Duration::from_millis(40));
    let place = Place::shared(Kind::Redis);
    Arena {
        places: ways(&place, &ports(&links)),
        inspected: vec![Inspected(place)],
        nemeses: Vec::new(),
        may_be_forced: false,
        are_struck: false,
        shape: Shape::Pair,
    }
}

/// Two ways to it, on one of which answers are late and then lost.
pub(super) fn on_redis_with_late_answers() -> Arena {
    let links: Vec<Arc<Proxy>> = (0..2).map(|_| Arc::new(Proxy::before(Server::shared_redis().port))).collect();
    let place = Place::shared(Kind::Redis);
    Arena {
        places: ways(&place, &ports(&links)),
        inspected: vec![Inspected(place)],
        nemeses: vec![Box::new(CutOff { links, answers_are_late: true })],
        may_be_forced: false,
        are_struck: false,
        shape: Shape::Sitters,
    }
}

pub(super) fn on_redis_that_betrays() -> Arena {
    let clock = Arc::new(SteppedClock::new());
    let server = Server::redis_on(&clock);
    let place = Place::at_port(Kind::Redis, server.port);
    Arena {
        places: vec![place.options()],
        inspected: vec![Inspected(place)],
        nemeses: vec![Box::new(Betrayal { server: Arc::new(Mutex::new(server)), clock })],
        may_be_forced: false,
        are_struck: true,
        shape: Shape::Crowd,
    }
}

pub(super) fn behind_sentinels(options: &[&str]) -> Arena {
    let watched = Watched::start();
    let place = watched.place();
    let mut call = place.options();
    call.extend(options.iter().map(ToString::to_string));
    Arena {
        places: vec![call],
        inspected: Vec::new(),
        nemeses: vec![Box::new(Failovers(watched))],
        may_be_forced: false,
        are_struck: true,
        shape: Shape::Crowd,
    }
}

pub(super) fn on_a_cluster() -> Arena {
    let cluster = Cluster::of_masters(3);
    let place = Place::on(&cluster);
    let namespace = place.namespace.clone();
    let corner = |port| Inspected(Place::at_port(Kind::Redis, port).called(&namespace));
    let inspected = cluster.masters().iter().map(|master| corner(master.port)).collect();
    let locks = (0..8).map(|key| format!("{namespace}:key-{key}")).collect();
    Arena {
        places: vec![place.options()],
        inspected,
        nemeses: vec![Box::new(Migrations { cluster, locks })],
        may_be_forced: true,
        are_struck: true,
        shape: Shape::Crowd,
    }
}

pub(super) fn on_five_masters() -> Arena {
    let servers: Vec<Server> = (0..5).map(|_| Server::redis(&[])).collect();
    let urls: Vec<String> = servers.iter().map(|server| format!("redis://127.0.0.1:{}", server.port)).collect();
    let place = Place::at_url(&urls.join(","), servers[0].port);
    let namespace = place.namespace.clone();
    let corner = |port| Inspected(Place::at_port(Kind::Redis, port).called(&namespace));
    let inspected = servers.iter().map(|server| corner(server.port)).collect();
    Arena {
        places: vec![place.options()],
        inspected,
        nemeses: vec![Box::new(Masters { servers, away: std::collections::VecDeque::new() })],
        may_be_forced: true,
        are_struck: true,
        shape: Shape::Crowd,
    }
}

pub(super) fn on_zookeeper() -> Arena {
    let server = Server::zookeeper();
    let place = Place::at_port(Kind::ZooKeeper, server.port);
    let links = links_to(server.port);
    let places = ways(&place, &ports(&links));
    Arena {
        places,
        inspected: vec![Inspected(place)],
        nemeses: vec![Box::new(Ensemble(Arc::new(Mutex::new(vec![server])))), Box::new(Links(links))],
        may_be_forced: true,
        are_struck: true,
        shape: Shape::Crowd,
    }
}

/// Two ways to it, of which one is silent for longer than a session.
pub(super) fn on_zookeeper_cut_off() -> Arena {
    let links: Vec<Arc<Proxy>> = (0..2).map(|_| Arc::new(Proxy::before(Server::shared_zookeeper().port))).collect();
    let place = Place::shared(Kind::ZooKeeper);
    Arena {
        places: ways(&place, &ports(&links)),
        inspected: vec![Inspected(place)],
        nemeses: vec![Box::new(CutOff { links, answers_are_late: false })],
        may_be_forced: false,
        are_struck: false,
        shape: Shape::Sitters,
    }
}

pub(super) fn on_an_ensemble() -> Arena {
    let servers = Vec::from(Server::zookeeper_ensemble());
    let links: Vec<Arc<Proxy>> = servers.iter().map(|server| Arc::new(Proxy::before(server.port))).collect();
    let direct = Place::at_ports(&servers.iter().map(|server| server.port).collect::<Vec<_>>());
    let through = Place::at_ports(&ports(&links)).called(&direct.namespace);
    Arena {
        places: vec![through.options()],
        inspected: vec![Inspected(direct)],
        nemeses: vec![Box::new(Ensemble(Arc::new(Mutex::new(servers)))), Box::new(Links(links))],
        may_be_forced: true,
        are_struck: true,
        shape: Shape::Crowd,
    }
}

pub(super) fn on_redis_and_zookeeper() -> Arena {
    let (redis, zookeeper) = (Server::redis(&[]), Server::zookeeper());
    let place = Place::at_port(Kind::Redis, redis.port);
    let beside = place.on_zookeeper(zookeeper.port);
    let links = [links_to(redis.port), links_to(zookeeper.port)];
    let ways = links[0].iter().zip(&links[1]);
    let places = ways.map(|(redis, zk)| place.through(redis.port).and_zookeeper(zk.port).options()).collect();
    let zookeeper = Arc::new(Mutex::new(vec![zookeeper]));
    let redis = Arc::new(Mutex::new(redis));
    Arena {
        places,
        inspected: vec![Inspected(place), Inspected(beside)],
        nemeses: vec![
            Box::new(Redis { server: redis, clock: None }),
            Box::new(Ensemble(zookeeper)),
            Box::new(Links(links.into_iter().flatten().collect())),
        ],
        may_be_forced: true,
        are_struck: true,
        shape: Shape::Crowd,
    }
}
