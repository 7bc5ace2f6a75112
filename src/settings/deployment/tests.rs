use super::*;
use crate::backend::redis;
use crate::settings::masters::urls;

fn typed(flags: &[(&str, &str)]) -> cli::Backend {
    let mut typed = cli::Backend::default();
    for (flag, value) in flags {
        let value = (*value).to_owned();
        match *flag {
            "backend" => typed.backend = Some(value),
            "redis" => typed.redis.push(value),
            "redis-password-file" => typed.redis_password_file = Some(value.into()),
            "zk" => typed.zk = Some(value),
            "dir" => typed.dir = Some(value.into()),
            "namespace" => typed.namespace = Some(value),
            other => panic!("{other} is no backend option"),
        }
    }
    typed
}

fn resolved(flags: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<Deployment, String> {
    resolve(&typed(flags), &Environment::of(variables)).map_err(|error| error.to_string())
}

fn chosen(flags: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<String, String> {
    resolved(flags, variables).map(|deployment| deployment.backend.to_string())
}

#[test]
fn without_a_word_it_is_the_file_backend_and_says_so() {
    let deployment = resolved(&[], &[]).expect("the default is valid");
    assert_eq!(deployment.backend, BackendName::File);
    let notice = deployment.notices.concat();
    assert!(notice.starts_with("the lock covers this host only, in /"), "{notice}");
}

#[test]
fn whoever_asked_for_file_in_whatever_way_is_told_nothing() {
    for (flags, variables) in [
        (vec![("backend", "file")], vec![]),
        (vec![("dir", "/srv/locks")], vec![]),
        (vec![], vec![("DLOCK_BACKEND", "file")]),
        (vec![], vec![("DLOCK_DIR", "/srv/locks")]),
    ] {
        assert_eq!(resolved(&flags, &variables).expect("valid").notices, [""; 0], "{flags:?} {variables:?}");
    }
}

#[test]
fn an_address_implies_its_backend() {
    assert_eq!(chosen(&[("redis", "redis://r1/")], &[]), Ok("redis".into()));
    assert_eq!(chosen(&[("zk", "z1:2181")], &[]), Ok("zk".into()));
    assert_eq!(chosen(&[], &[("DLOCK_ZK", "z1:2181")]), Ok("zk".into()));
}

#[test]
fn two_backends_on_one_level_are_refused() {
    let sentence = chosen(&[("redis", "redis://r1/"), ("zk", "z1")], &[]);
    let expected = "--redis and --zk name two backends: give one of them, or say which with --backend";
    assert_eq!(sentence, Err(expected.into()));
    let sentence = chosen(&[], &[("DLOCK_REDIS", "redis://r1/"), ("DLOCK_ZK", "z1")]);
    assert!(sentence.is_err_and(|sentence| sentence.starts_with("DLOCK_REDIS and DLOCK_ZK name two backends")));
}

#[test]
fn the_highest_level_that_names_a_backend_decides() {
    let redis = [("DLOCK_BACKEND", "redis"), ("DLOCK_REDIS", "redis://r1/")];
    assert_eq!(chosen(&[("zk", "z1")], &redis), Ok("zk".into()));
    assert_eq!(chosen(&[("backend", "file")], &redis), Ok("file".into()));
    // Named on the command line, found in the environment.
    let both = [("DLOCK_REDIS", "redis://r1/"), ("DLOCK_ZK", "z1")];
    assert_eq!(chosen(&[("backend", "redis")], &both), Ok("redis".into()));
}

#[test]
fn a_flag_of_another_backend_is_refused_and_a_variable_ignored() {
    let sentence = chosen(&[("backend", "file"), ("zk", "z1")], &[]);
    assert_eq!(sentence, Err("--zk belongs to the zk backend, and the backend chosen is file".into()));
    let sentence = chosen(&[("dir", "/srv")], &[("DLOCK_REDIS", "redis://r1/")]);
    assert_eq!(sentence, Err("--dir belongs to the file backend, and the backend chosen is redis".into()));
    assert_eq!(chosen(&[("backend", "zk")], &[("DLOCK_DIR", "/srv"), ("DLOCK_LAYOUT", "redisson")]), Ok("zk".into()));
}

#[test]
fn unknown_backends_are_refused_and_both_together_are_one() {
    let sentence = chosen(&[("backend", "etcd")], &[]);
    assert_eq!(
        sentence,
        Err(r#"invalid --backend "etcd": there is no such backend; use file, redis, zk or redis+zk"#.into())
    );
    for level in [&[("backend", "redis+zk"), ("redis", "redis://r1"), ("zk", "z1")][..], &[("backend", "redis+zk")]] {
        assert_eq!(chosen(level, &[]), Ok("redis+zk".into()));
    }
    assert_eq!(chosen(&[], &[("DLOCK_BACKEND", "redis+zk"), ("DLOCK_ZK", "z1")]), Ok("redis+zk".into()));
}

#[test]
fn several_urls_are_independent_masters_each_named_once_and_nothing_else_beside_them() {
    let masters = resolved(&[("redis", "redis://r1/,redis://:pw@r2:7000"), ("redis", "redis://r3")], &[]);
    let masters = masters.expect("three masters");
    assert!(matches!(&masters.target, Target::RedisMasters(config) if config.endpoints.len() == 3));
    assert_eq!(masters.endpoint, "redis://r1:6379,redis://:***@r2:7000,redis://r3:6379");
    assert_eq!(masters.notices, [""; 0]);
    let two = resolved(&[("redis", "redis://r1,redis://r2")], &[]).expect("two masters");
    assert!(two.notices[0].starts_with("2 masters survive no more failures than 1 would"));
    for (urls, word) in [
        ("redis://r1,redis://R1:6379/3", "twice"),
        ("redis://a@r1,redis://b@r1", "twice"),
        ("redis://r1,redis-sentinel://s1/main", "mixes"),
        ("redis-cluster://c1,c2,redis://r1", "mixes"),
    ] {
        let sentence = resolved(&[("redis", urls)], &[]).expect_err(urls).to_string();
        assert!(sentence.contains(word), "{sentence}");
    }
}

#[test]
fn a_cluster_is_one_deployment_and_a_nested_dlock_is_led_to_it_without_the_password() {
    let urls = [("redis", "redis-cluster://app:hunter2@c1,c2:7000")];
    let deployment = resolved(&urls, &[]).expect("valid");
    let Target::Redis(redis::Config { topology, .. }) = &deployment.target else { panic!("{:?}", deployment.target) };
    assert!(matches!(topology, redis::Topology::Cluster(_)));
    assert_eq!(deployment.endpoint, "redis-cluster://app:***@c1:6379,c2:7000");
    let variable = deployment.environment.iter().find(|(name, _)| name == "DLOCK_REDIS").expect("it is set");
    assert_eq!(variable.1.as_deref(), Some("redis-cluster://app@c1:6379,c2:7000"));
    assert_eq!(
        resolved(&[("redis", "redis-cluster://c1")], &[(REDIS_PASSWORD, "hunter3")])
            .map(|deployment| deployment.endpoint),
        Ok("redis-cluster://:***@c1:6379".into())
    );
    let sentence = resolved(&[("redis", "redis-cluster://c1,c2/1")], &[]).expect_err("there is only database 0");
    assert!(sentence.contains("only database 0"), "{sentence}");
}

#[test]
fn a_comma_separates_urls_and_nothing_else() {
    assert_eq!(urls("redis://r1/, redis://r2/,"), ["redis://r1/", "redis://r2/"]);
    assert_eq!(urls("redis-sentinel://h1:26379,h2/service"), ["redis-sentinel://h1:26379,h2/service"]);
    assert_eq!(urls("r1,r2"), ["r1,r2"]);
    assert_eq!(urls(" , "), [""; 0]);
}

#[test]
fn a_service_is_one_place_and_its_password_comes_from_where_a_servers_does() {
    let flags = [("redis", "redis-sentinel://app:hunter2@h1,h2:7000/service/1")];
    let deployment = resolved(&flags, &[]).expect("valid");
    assert_eq!(deployment.endpoint, "redis-sentinel://app:***@h1:26379,h2:7000/service/1");
    let variable = deployment.environment.iter().find(|(name, _)| name == "DLOCK_REDIS").expect("it is set");
    assert_eq!(variable.1.as_deref(), Some("redis-sentinel://app@h1:26379,h2:7000/service/1"));
    let variables = [(REDIS_PASSWORD, "hunter3"), ("DLOCK_WAIT_REPLICAS", "2")];
    let deployment = resolved(&[("redis", "rediss-sentinel://h1/service")], &variables).expect("valid");
    let Target::Redis(redis::Config { topology: redis::Topology::Sentinel(service), wait_replicas: 2, .. }) =
        deployment.target
    else {
        panic!("{deployment:?}");
    };
    assert_eq!(service.password.as_ref().map(redis::Secret::reveal), Some("hunter3"));
    assert_eq!(service.transport, redis::Transport::Tls);
}

#[test]
fn an_empty_namespace_variable_is_an_empty_namespace() {
    let deployment = resolved(&[("backend", "redis")], &[("DLOCK_NAMESPACE", "")]).expect("valid");
    assert!(deployment.namespace.is_empty());
    let deployment = resolved(&[("namespace", "ci")], &[("DLOCK_NAMESPACE", "")]).expect("valid");
    assert_eq!(deployment.namespace.as_str(), "ci");
}

#[test]
fn a_nested_dlock_is_led_to_the_same_place_and_given_no_secret() {
    let flags = [("redis", "redis://app:hunter2@r1:6380/2")];
    let deployment = resolved(&flags, &[("DLOCK_ZK", "z1"), (REDIS_PASSWORD, "hunter3")]).expect("valid");
    let value = |name: &str| {
        let found = deployment.environment.iter().find(|(known, _)| known == name);
        found.unwrap_or_else(|| panic!("{name} is neither set nor removed")).1.as_deref()
    };
    assert_eq!(value("DLOCK_BACKEND"), Some("redis"));
    assert_eq!(value("DLOCK_NAMESPACE"), Some("dlock"));
    assert_eq!(value("DLOCK_REDIS"), Some("redis://app@r1:6380/2"));
    assert_eq!(value("DLOCK_ZK"), None);
    assert_eq!(value("DLOCK_DIR"), None);
    assert_eq!(value(REDIS_PASSWORD), None);
    assert!(!deployment.endpoint.contains("hunter"), "{}", deployment.endpoint);
}

#[test]
fn what_a_nested_dlock_reads_leads_to_the_same_place() {
    for flags in [
        &[("redis", "r1:6380/2")][..],
        &[("redis", "redis-cluster://c1,[::1]:7001")],
        &[("zk", "zk://z1,[::1]:2182/app")],
        &[("zk", "z1:2181,z2:2181"), ("namespace", "")],
        &[("dir", "relative")],
        &[("backend", "file")],
    ] {
        let outer = resolved(flags, &[]).expect("valid");
        let kept: Vec<(&str, &str)> =
            outer.environment.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?))).collect();
        let inner = resolved(&[], &kept).expect("what dlock hands on is valid");
        assert_eq!(format!("{:?}", inner.target), format!("{:?}", outer.target));
        assert_eq!(inner.environment, outer.environment);
        assert_eq!(inner.notices, [""; 0]);
    }
}

#[test]
fn a_password_that_is_typed_comes_before_one_in_the_environment() {
    let password =
        |flags: &[(&str, &str)], variables: &[(&str, &str)]| match resolved(flags, variables).expect("valid").target {
            Target::Redis(redis::Config { topology: redis::Topology::Server(endpoint), .. }) => {
                endpoint.password.map(|secret| secret.reveal().to_owned())
            }
            other => panic!("redis was asked for, not {other:?}"),
        };
    let variable = [(REDIS_PASSWORD, "from-variable")];
    assert_eq!(password(&[("redis", "redis://r1/")], &[]), None);
    assert_eq!(password(&[("redis", "redis://r1/")], &variable).as_deref(), Some("from-variable"));
    assert_eq!(password(&[("redis", "redis://:from-url@r1/")], &variable).as_deref(), Some("from-url"));
    let both = [(REDIS_PASSWORD, "from-variable"), ("DLOCK_REDIS", "redis://:from-url@r1/")];
    assert_eq!(password(&[], &both).as_deref(), Some("from-variable"));
}

#[test]
fn an_unreadable_password_file_is_a_matter_of_configuration() {
    let flags = [("backend", "redis"), ("redis-password-file", "/nonexistent/password")];
    let error = resolve(&typed(&flags), &Environment::default()).expect_err("there is no such file");
    assert!(matches!(error, Error::Configuration(_)));
    assert_eq!(
        error.to_string(),
        r#"cannot read --redis-password-file "/nonexistent/password": No such file or directory"#
    );
}
