use proptest::prelude::*;

use super::*;

fn parsed(url: &str) -> Endpoint {
    Endpoint::parse(url).unwrap_or_else(|why| panic!("{url}: {why}"))
}

fn host_and_port(endpoint: &Endpoint) -> (&str, u16) {
    match &endpoint.address {
        Address::Tcp { host, port } => (host, *port),
        Address::Unix(path) => panic!("{} is a socket", path.display()),
    }
}

#[test]
fn a_full_url_is_taken_apart_and_decoded() {
    let endpoint = parsed("redis://al%40ice:p%2Fw%3A%40@r1.example:7000/3");
    assert_eq!(host_and_port(&endpoint), ("r1.example", 7000));
    assert_eq!(endpoint.user.as_deref(), Some("al@ice"));
    assert_eq!(endpoint.password.as_ref().map(Secret::reveal), Some("p/w:@"));
    assert_eq!(endpoint.db, 3);
}

#[test]
fn whatever_a_url_leaves_out_has_its_default() {
    for url in ["redis://r1", "redis://r1/", "r1", "r1:6379", "redis://r1:6379/0", "REDIS://r1"] {
        let endpoint = parsed(url);
        assert_eq!((host_and_port(&endpoint), endpoint.db), (("r1", 6379), 0), "{url}");
        assert_eq!(endpoint.transport, Transport::Plain, "{url}");
        assert_eq!((endpoint.user, endpoint.password), (None, None), "{url}");
    }
}

#[test]
fn an_ipv6_address_stands_in_brackets_with_or_without_a_port() {
    assert_eq!(host_and_port(&parsed("redis://[::1]")), ("::1", 6379));
    assert_eq!(host_and_port(&parsed("[fe80::2]:7001")).1, 7001);
    assert_eq!(parsed("redis://[::1]:7001/2").masked(), "redis://[::1]:7001/2");
    for url in ["redis://::1", "redis://fe80::2:7001", "redis://[::1", "redis://[r1]", "redis://[::1]7001"] {
        assert!(Endpoint::parse(url).is_err(), "{url}");
    }
}

#[test]
fn a_password_without_a_user_is_the_default_users() {
    let endpoint = parsed("redis://:pw@r1");
    assert_eq!((endpoint.user.as_deref(), endpoint.password.as_ref().map(Secret::reveal)), (None, Some("pw")));
}

#[test]
fn secrets_are_masked_in_every_form_that_is_shown() {
    let endpoint = parsed("redis://bob:hunter2@r1/1");
    assert_eq!(endpoint.masked(), "redis://bob:***@r1:6379/1");
    assert_eq!(endpoint.without_password(), "redis://bob@r1:6379/1");
    assert!(!format!("{endpoint:?}").contains("hunter2"));
}

#[test]
fn what_a_later_version_will_support_is_refused_by_name() {
    for (url, what) in [("redis://r1,redis://r2", "list"), ("r1:1,r2:2", "list"), ("unix:///a,unix:///b", "list")] {
        let why = Endpoint::parse(url).expect_err(url).to_string();
        assert!(why.contains(what) && why.contains("not supported by this version"), "{url}: {why}");
    }
}

#[test]
fn tls_is_the_same_url_with_another_scheme() {
    let endpoint = parsed("rediss://bob:hunter2@[::1]:7000/3");
    assert_eq!(endpoint.transport, Transport::Tls);
    assert_eq!(endpoint.masked(), "rediss://bob:***@[::1]:7000/3");
    assert_eq!(parsed("rediss://r1").without_password(), "rediss://r1:6379");
}

#[test]
fn a_unix_socket_is_a_path_with_its_options_behind_it() {
    let endpoint = parsed("unix:///run/my%20redis/r.sock?db=2&user=al%40ice&pass=p%26w%3F");
    assert_eq!(endpoint.address, Address::Unix("/run/my redis/r.sock".into()));
    assert_eq!((endpoint.user.as_deref(), endpoint.db), (Some("al@ice"), 2));
    assert_eq!(endpoint.password.as_ref().map(Secret::reveal), Some("p&w?"));
    assert_eq!(endpoint.masked(), "unix:///run/my%20redis/r.sock?db=2&user=al%40ice&pass=***");
    assert_eq!(endpoint.without_password(), "unix:///run/my%20redis/r.sock?db=2&user=al%40ice");
    assert_eq!(parsed("unix:///r.sock").masked(), "unix:///r.sock");
    for url in [
        "unix://",
        "unix://r.sock",
        "unix://:hunter2@/r.sock",
        "unix:///r.sock?password=hunter2",
        "unix:///r.sock?hunter2",
        "unix:///r%00",
        "unix:///r#hunter2",
        "unix:///r.sock?db=1?pass=hunter2",
    ] {
        assert_eq!(Endpoint::parse(url), Err(InvalidUrl::Socket), "{url}");
    }
    assert_eq!(Endpoint::parse("unix:///r.sock?db=x"), Err(InvalidUrl::Database("x".into())));
    assert_eq!(Endpoint::parse("unix:///r.sock?pass=%zz"), Err(InvalidUrl::Credentials));
}

#[test]
fn each_wrong_part_is_named() {
    assert_eq!(Endpoint::parse("http://r1"), Err(InvalidUrl::Scheme("http".into())));
    assert_eq!(Endpoint::parse("redis://"), Err(InvalidUrl::NoHost));
    assert_eq!(Endpoint::parse(""), Err(InvalidUrl::NoHost));
    assert_eq!(Endpoint::parse("redis://:6379"), Err(InvalidUrl::NoHost));
    for port in ["0", "65536", "-1", "+1", "abc", "", "99999999999"] {
        assert_eq!(Endpoint::parse(&format!("redis://r1:{port}")), Err(InvalidUrl::Port(port.into())));
    }
    for db in ["x", "-1", "1/2", "2147483648"] {
        assert_eq!(Endpoint::parse(&format!("redis://r1/{db}")), Err(InvalidUrl::Database(db.into())));
    }
    for pieces in ["redis://r1/1:hunter2", "r/ds/e:i:hunter2"] {
        assert_eq!(Endpoint::parse(pieces), Err(InvalidUrl::Credentials), "a part of a password may be in {pieces}");
    }
    assert_eq!(Endpoint::parse("redis://r1/0?protocol=resp3"), Err(InvalidUrl::Options));
    assert_eq!(Endpoint::parse("redis://u:%zz@r1"), Err(InvalidUrl::Credentials));
    assert_eq!(Endpoint::parse("redis://u:p/w@r1"), Err(InvalidUrl::Credentials));
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic_and_no_error_shows_a_password(text in ".*", password in "[a-zA-Z0-9]{12}") {
        Endpoint::parse(&text).ok();
        if let Err(why) = Endpoint::parse(&format!("redis://user:{password}@{text}")) {
            prop_assert!(!why.to_string().contains(&password));
        }
    }

    #[test]
    fn a_url_without_its_password_reads_as_the_same_endpoint(
        user in proptest::option::of("[a-z@:/% é]{1,8}"),
        address in prop_oneof![
            (1u16..).prop_map(|port| Address::Tcp { host: "r1".into(), port }),
            "/[^\0]{0,12}".prop_map(|path| Address::Unix(path.into())),
        ],
        encrypts: bool,
        db in 0u32..100,
    ) {
        let transport = match address {
            Address::Tcp { .. } if encrypts => Transport::Tls,
            _ => Transport::Plain,
        };
        let endpoint = Endpoint { address, transport, user, password: None, db };
        prop_assert_eq!(Endpoint::parse(&endpoint.without_password()), Ok(endpoint));
    }
}
