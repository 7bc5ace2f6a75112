//! What starts dlock from a manifest: Kubernetes, Ansible, make.

use serde_json::Value;

use super::{Host, LASTS, NOTES, at, example, word};
use crate::support::{Dlock, Kind, Place, eventually};

fn list(value: &Value) -> Vec<String> {
    value.as_array().unwrap_or_else(|| panic!("a list: {value}")).iter().map(|entry| word(entry).to_owned()).collect()
}

fn manifest(host: &Host<'_>, path: &str) -> Value {
    serde_norway::from_str(&host.fitted(&example(path))).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_cron_job_is_what_kubernetes_asks_for() {
    let place = Place::shared(Kind::Redis);
    let host = Host::new(&place, &[]);
    let cron_job = manifest(&host, "kubernetes/cronjob.yaml");
    assert_eq!((word(at(&cron_job, "apiVersion")), word(at(&cron_job, "kind"))), ("batch/v1", "CronJob"));
    assert!(word(at(&cron_job, "metadata.name")).bytes().all(|letter| letter.is_ascii_lowercase() || letter == b'-'));
    assert_eq!(word(at(&cron_job, "spec.schedule")).split(' ').count(), 5);
    assert!(["Allow", "Forbid", "Replace"].contains(&word(at(&cron_job, "spec.concurrencyPolicy"))));
    assert_eq!(at(&cron_job, "spec.jobTemplate.spec.backoffLimit"), 0);
    let pod = at(&cron_job, "spec.jobTemplate.spec.template.spec");
    assert_eq!(at(pod, "restartPolicy"), "Never");
    assert!(at(pod, "terminationGracePeriodSeconds").is_u64());
    // No field that Kubernetes would refuse.
    let known = |value: &Value, names: &[&str]| {
        for name in value.as_object().expect("a table").keys() {
            assert!(names.contains(&name.as_str()), "{name} is none of {names:?}");
        }
    };
    known(at(&cron_job, "spec"), &["schedule", "concurrencyPolicy", "startingDeadlineSeconds", "jobTemplate"]);
    known(pod, &["restartPolicy", "terminationGracePeriodSeconds", "containers"]);
    let container = at(pod, "containers.0");
    known(container, &["name", "image", "command", "args", "env"]);
    for variable in at(container, "env").as_array().expect("a list") {
        known(variable, &["name", "value", "valueFrom"]);
        assert!(variable.get("value").is_some() != variable.get("valueFrom").is_some(), "{variable}");
    }
}

/// The pod of the manifest.
fn pod(host: &Host<'_>, name: &str) -> Dlock {
    let cron_job = manifest(host, "kubernetes/cronjob.yaml");
    let container = at(&cron_job, "spec.jobTemplate.spec.template.spec.containers.0");
    let words = [list(at(container, "command")), list(at(container, "args"))].concat();
    let mut call = host.call(words.iter().map(String::as_str));
    for variable in at(container, "env").as_array().expect("a list") {
        if let Some(value) = variable.get("value") {
            call = call.env(word(at(variable, "name")), word(value).replace("$(POD_NAME)", name));
        }
    }
    call
}

#[test]
fn of_two_pods_one_runs_the_job() {
    let place = Place::shared(Kind::Redis);
    let hosts = [(); 2].map(|()| Host::new(&place, &[("make-reports", LASTS)]));
    let run = pod(&hosts[0], "reports-1").start();
    hosts[0].has_started();
    assert_eq!(place.status("reports")["holders"][0]["label"], "reports-1");
    pod(&hosts[1], "reports-2").finish().succeeds().says_nothing();
    hosts[0].lets_go();
    run.wait().succeeds().says_nothing();
    assert_eq!((hosts[0].read("started").as_str(), hosts[1].read("started").as_str()), ("--all\n", ""));
}

/// The arguments of a task of the playbook, with what Ansible would fill in.
fn command_of(task: &Value, token: &str) -> Vec<String> {
    let words = list(at(task, "argv"));
    let filled = |word: String| word.replace("{{ lock.stdout }}", token).replace("{{ release }}", "release-7");
    words.into_iter().map(filled).map(|word| word.replace("{{ lookup('env', 'USER') }}", "me")).collect()
}

#[test]
fn a_push_holds_the_lock_from_its_first_task_to_its_last() {
    for restart in [NOTES, "#!/bin/sh\nexit 4\n"] {
        let place = Place::shared(Kind::Redis);
        let host = Host::new(&place, &[("copy-release", NOTES), ("restart-application", restart)]);
        let playbook = manifest(&host, "ansible/deploy.yml");
        let play = at(&playbook, "0");
        let server = word(at(play, "environment.DLOCK_REDIS")).to_owned();
        let block = at(play, "tasks.0");
        let run = |task: &Value, token: &str| {
            let task = task.get("ansible.builtin.command").unwrap_or_else(|| panic!("a command: {task}"));
            let words = command_of(task, token);
            host.call(words.iter().map(String::as_str)).env("DLOCK_REDIS", &server).finish()
        };
        let tasks = at(block, "block").as_array().expect("a list of tasks");
        let [lock, copy, restart_task] = &tasks[..] else { panic!("three tasks: {tasks:?}") };
        assert_eq!(at(lock, "register"), "lock");
        let token = run(lock, "").succeeds().said().to_owned();
        run(copy, &token).succeeds();
        let other = run(lock_without_waiting(lock).as_ref().expect("it waits"), "").exits_with(75);
        assert!(other.stderr().contains("ansible by me"), "{}", other.account());
        let restarted = run(restart_task, &token);
        assert_eq!(restarted.status.code(), Some(if restart == NOTES { 0 } else { 4 }), "{}", restarted.account());
        assert!(!place.is_free("deploy/web"));
        let always = at(block, "always.0");
        assert_eq!(at(always, "when"), "lock.stdout | default('') != ''");
        run(always, &token).succeeds().says_nothing();
        assert!(place.is_free("deploy/web"));
    }
}

/// The same task for a second push that has no time.
fn lock_without_waiting(task: &Value) -> Option<Value> {
    let text = task.to_string();
    let changed = text.replace("\"10m\"", "\"0\"");
    (changed != text).then(|| serde_json::from_str(&changed).expect("it was one before"))
}

#[test]
fn two_makes_deploy_one_after_the_other_and_another_environment_at_once() {
    let place = Place::shared(Kind::Redis);
    let hosts = [(); 3].map(|()| Host::new(&place, &[("build.sh", NOTES), ("deploy.sh", LASTS)]));
    let make = |host: &Host<'_>, goal: &[&str]| {
        // The programs of a checkout stand in the current directory.
        std::fs::write(
            host.directory.path().join("Makefile"),
            host.fitted(&example("make/Makefile")).replace("./", ""),
        )
        .expect("there is room");
        host.call(["make", "-s"].into_iter().chain(goal.iter().copied())).env("USER", "me")
    };
    let [first, second, third] = &hosts;
    let one = make(first, &["deploy"]).start();
    first.has_started();
    let two = make(second, &["deploy"]).start();
    eventually("the second waits", || place.waiters("deploy/production") == 1);
    let shown = make(first, &["status"]).finish().succeeds();
    assert!(shown.said().contains("me: make deploy"), "{}", shown.account());
    let staging = make(third, &["deploy", "ENV=staging"]).start();
    third.has_started();
    assert_eq!((third.read("started").as_str(), second.read("started").as_str()), ("staging\n", ""));
    for (host, run) in [(third, staging), (first, one), (second, two)] {
        host.has_started();
        host.lets_go();
        run.wait().succeeds();
    }
    assert!(place.is_free("deploy/production") && place.is_free("deploy/staging"));
}
