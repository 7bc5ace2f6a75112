use super::*;
use crate::error::{Attempt, Error};
use crate::lock::{BackendError, Mode, Retention, Ttl};
use crate::settings::{ReportForm, Voice};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn summary(unit: u64) -> Option<Summary> {
    Summary::of((1..=100).map(|step| Duration::from_micros(step * unit)).collect())
}

fn choice(ttl: u64) -> Choice {
    Choice {
        ttl: ms(ttl),
        renew_every: ms(ttl / 3),
        request_limit: ms(ttl / 10),
        times_the_slowest: 123.4,
        outage: ms(ttl / 2),
        is_granted: ttl < 60_000,
    }
}

fn figures(in_force: u64, shortest: Option<u64>) -> Figures {
    let choices = vec![choice(5_000), choice(30_000), choice(60_000)];
    let leases = Leases {
        in_force: ms(in_force),
        slowest: ms(4),
        room: 10,
        choices,
        shortest: shortest.map(Duration::from_millis),
    };
    Figures {
        acquire: summary(4),
        release: summary(100),
        renew: None,
        hand_over: summary(10_000),
        contention: Contention {
            contenders: 8,
            lasted: ms(2_000),
            turns: 801,
            fewest: 99,
            most: 102,
            wait: summary(9),
        },
        leases: Some(leases),
    }
}

fn settings() -> BenchSettings {
    BenchSettings {
        deployments: Vec::new(),
        duration: ms(30_000),
        contenders: 8,
        ttl: Ttl::Default(ms(30_000)),
        mode: Mode::Exclusive,
        retention: Retention::default(),
        label: None,
        form: ReportForm::Table,
        voice: Voice::NORMAL,
    }
}

fn failure() -> Error {
    let key = LockKey::new("dlock-bench-x").expect("a key");
    Error::backend(Attempt::Acquire(key), BackendError::unavailable("z1:2181 is away"))
}

#[test]
fn every_time_has_a_row_for_each_backend_and_every_line_fits_a_terminal() {
    let (redis, zookeeper) = (Deployment::on_redis("redis://r1"), Deployment::on_zookeeper("dlock"));
    let measured = [
        Measured { deployment: &redis, outcome: Ok(figures(30_000, Some(5_000))) },
        Measured { deployment: &zookeeper, outcome: Ok(Figures { leases: None, ..figures(0, None) }) },
    ];
    let shown = table(&measured, &settings());
    assert_eq!(
        shown,
        "\
redis: redis://r1:6379
zk: zookeeper z1:2181
exclusive, 8 contenders, 30s in all

WHAT       BACKEND  COUNT  MEDIAN     P95     P99     MAX
acquire    redis      100   200µs   380µs   396µs   400µs
acquire    zk         100   200µs   380µs   396µs   400µs
release    redis      100  5.00ms  9.50ms  9.90ms  10.0ms
release    zk         100  5.00ms  9.50ms  9.90ms  10.0ms
renew      redis        -       -       -       -       -
renew      zk           -       -       -       -       -
hand-over  redis      100   500ms   950ms   990ms   1.00s
hand-over  zk         100   500ms   950ms   990ms   1.00s
wait       redis      100   450µs   855µs   891µs   900µs
wait       zk         100   450µs   855µs   891µs   900µs

BACKEND  CONTENDERS  GRANTS  PER SECOND  FEWEST  MOST
redis             8     801       400.5      99   102
zk                8     801       400.5      99   102

BACKEND  TTL  RENEWED EVERY  LIMIT  TIMES SLOWEST  OUTAGE
redis     5s          1.67s  500ms            123   2.50s  shortest
redis    30s          10.0s  3.00s            123   15.0s  in force
redis     1m          20.0s  6.00s            123   30.0s  not granted here

redis: the slowest renewal took 4.00ms; a TTL of 5s or more leaves a renewal at least 10 times that, the 30s in force \
123 times
"
    );
    let table = shown.split("\nredis: the").next().expect("the sentences come last");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
}

#[test]
fn a_lease_that_is_too_short_and_a_network_that_is_too_slow_are_told_of() {
    let sentence = |in_force, shortest| sentence(figures(in_force, shortest).leases.as_ref().expect("there are"));
    let short = sentence(5_000, Some(30_000));
    assert!(short.contains("use --ttl 30s or more") && short.contains("the 5s in force are too short"), "{short}");
    let capped = sentence(60_000, None);
    assert!(capped.contains("the 1m in force leave 123 times") && capped.contains("maxSessionTimeout"), "{capped}");
    assert!(sentence(5_000, None).contains("no TTL that is granted leaves a renewal 10 times that"));
}

#[test]
fn a_backend_that_failed_is_in_the_json_with_its_reason_and_in_no_table() {
    let (redis, zookeeper) = (Deployment::on_redis("redis://r1"), Deployment::on_zookeeper("dlock"));
    let measured = [
        Measured { deployment: &redis, outcome: Ok(figures(30_000, None)) },
        Measured { deployment: &zookeeper, outcome: Err(failure()) },
    ];
    assert!(!table(&measured, &settings()).contains("zk"));
    let json: serde_json::Value = serde_json::from_str(&json(&measured, &settings())).expect("it is JSON");
    let [redis, zookeeper] = &json["backends"].as_array().expect("an array")[..] else { panic!("two: {json}") };
    assert_eq!(zookeeper["error"], "cannot acquire \"dlock-bench-x\": z1:2181 is away");
    assert!(zookeeper["acquire"].is_null() && zookeeper["contention"].is_null() && redis["error"].is_null());
    assert_eq!(redis["acquire"]["median_us"], 200.0);
    assert_eq!(redis["contention"]["grants_per_second"], 400.5);
    assert!(redis["renew"].is_null() && redis["lease"]["shortest_ttl_ms"].is_null());
}

#[test]
fn times_have_three_figures_and_the_unit_that_people_would_say() {
    for (nanos, shown) in [
        (0, "0.00µs"),
        (1_234, "1.23µs"),
        (9_996, "10.0µs"),
        (99_960, "100µs"),
        (999_499, "999µs"),
        (999_500, "1.00ms"),
        (45_678_000, "45.7ms"),
        (999_500_000, "1.00s"),
        (12_345_000_000, "12.3s"),
    ] {
        assert_eq!(precise(Duration::from_nanos(nanos)), shown);
    }
}
