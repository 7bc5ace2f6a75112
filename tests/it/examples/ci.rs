//! Pipelines whose lock spans several steps: each step in a shell of its own, with what the runner hands on and nothing else.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Host, LASTS, NOTES, at, example, word};
use crate::support::{Dlock, Finished, Kind, Place, Running, eventually};

type Variables = BTreeMap<String, String>;

/// A runner: it goes through the steps, each in a fresh shell that ends at the first failure.
struct Runner<'a> {
    host: Host<'a>,
    variables: Variables,
}

impl<'a> Runner<'a> {
    fn new(place: &'a Place, deploy: &str) -> Self {
        Self { host: Host::new(place, &[("build.sh", NOTES), ("deploy.sh", deploy)]), variables: Variables::new() }
    }

    fn step(&self, lines: &str) -> Dlock {
        // The programs of a checkout stand in the current directory.
        let call = self.host.call(["bash", "-eo", "pipefail", "-c", &lines.replace("./", "")]);
        self.variables.iter().fold(call, |call, (name, value)| call.env(name, value))
    }

    /// Takes `NAME=value` lines over, as every CI does with its files of variables.
    fn take_over(&mut self, text: &str) {
        for line in text.lines() {
            let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("NAME=value: {line}"));
            self.variables.insert(name.to_owned(), value.to_owned());
        }
    }
}

fn yaml(host: &Host<'_>, path: &str) -> Value {
    serde_norway::from_str(&host.fitted(&example(path))).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn lines(script: &Value) -> String {
    let lines: Vec<&str> = script.as_array().expect("a list of lines").iter().map(word).collect();
    lines.join("\n")
}

fn texts(map: &Value) -> Variables {
    let entries = map.as_object().expect("a table of variables").iter();
    entries.map(|(name, value)| (name.clone(), word(value).to_owned())).collect()
}

const FAILS: &str = "#!/bin/sh\necho deploy failed >&2\nexit 5\n";

/// The job of a stage of the GitLab pipeline.
fn gitlab_job(pipeline: &Value, stage: &str) -> Value {
    let jobs = pipeline.as_object().expect("a table of jobs").values();
    let mut of_stage = jobs.filter(|job| job.get("stage").is_some_and(|of| of == stage));
    of_stage.next().unwrap_or_else(|| panic!("a job for {stage}")).clone()
}

#[test]
fn gitlab_hands_the_lock_from_job_to_job() {
    for (deploy, status) in [(NOTES, 0), (FAILS, 5)] {
        let place = Place::shared(Kind::ZooKeeper);
        let mut runner = Runner::new(&place, deploy);
        let pipeline = yaml(&runner.host, "ci/gitlab-ci.yml");
        assert_eq!(at(&pipeline, "stages"), &serde_json::json!(["lock", "deploy", "unlock"]));
        runner.variables = texts(at(&pipeline, "variables"));
        runner.variables.insert("CI_PIPELINE_ID".to_owned(), "4711".to_owned());

        let lock = gitlab_job(&pipeline, "lock");
        runner.step(&lines(at(&lock, "script"))).finish().succeeds().says_nothing();
        runner.take_over(&runner.host.read(word(at(&lock, "artifacts.reports.dotenv"))));
        let held = place.status("deploy/production");
        assert_eq!((word(&held["state"]), word(&held["holders"][0]["label"])), ("held", "pipeline 4711"));

        // Another pipeline waits for this one.
        let mut other = Runner::new(&place, NOTES);
        other.variables = texts(at(&pipeline, "variables"));
        let waiting = other.step(&lines(at(&lock, "script"))).start();
        eventually("the other pipeline waits", || place.waiters("deploy/production") == 1);

        runner.step(&lines(at(&gitlab_job(&pipeline, "deploy"), "script"))).finish().exits_with(status);
        let unlock = gitlab_job(&pipeline, "unlock");
        assert_eq!(at(&unlock, "when"), "always");
        runner.step(&lines(at(&unlock, "script"))).finish().succeeds().says_nothing();

        waiting.wait().succeeds();
        other.take_over(&other.host.read("lock.env"));
        other.step(&lines(at(&unlock, "script"))).finish().succeeds();
        assert!(place.is_free("deploy/production"));
        // The step that always runs has nothing to do where no lock was taken.
        let without = Runner::new(&place, NOTES);
        without.step(&lines(at(&unlock, "script"))).finish().succeeds().says_nothing();
    }
}

/// A job of GitHub's: its steps one after the other, with `if:` as far as the example uses it. The status of the first that
/// failed.
fn github_job(runner: &mut Runner<'_>, job: &Value, mut between: impl FnMut(&str)) -> Option<Finished> {
    let secret = |value: String| if value.starts_with("${{ secrets.") { String::new() } else { value };
    runner.variables = texts(at(job, "env")).into_iter().map(|(name, value)| (name, secret(value))).collect();
    let file = runner.host.directory.path().join("github-env");
    std::fs::write(&file, "").expect("there is room");
    runner.variables.insert("GITHUB_ENV".to_owned(), file.display().to_string());
    runner.variables.insert("GITHUB_RUN_ID".to_owned(), "4711".to_owned());
    let mut failed = None;
    for step in at(job, "steps").as_array().expect("a list of steps") {
        let runs = match step.get("if").map(word) {
            None => failed.is_none(),
            Some("always() && env.DLOCK_TOKEN != ''") => runner.variables.contains_key("DLOCK_TOKEN"),
            Some(other) => panic!("{other} is not understood here"),
        };
        if runs {
            between(word(at(step, "name")));
            let ended = runner.step(word(at(step, "run"))).finish();
            if !ended.status.success() {
                failed = failed.or(Some(ended));
            }
            runner.take_over(&runner.host.read("github-env"));
        }
    }
    failed
}

#[test]
fn github_hands_the_lock_from_step_to_step() {
    for (deploy, status) in [(NOTES, None), (FAILS, Some(5))] {
        let place = Place::shared(Kind::Redis);
        let mut runner = Runner::new(&place, deploy);
        let workflow = yaml(&runner.host, "ci/github-workflow.yml");
        let mut states = Vec::new();
        let failed = github_job(&mut runner, at(&workflow, "jobs.deploy"), |_| {
            states.push(word(&place.status("deploy/production")["state"]).to_owned());
        });
        assert_eq!(failed.and_then(|ended| ended.status.code()), status);
        assert_eq!(states, ["free", "held", "held", "held"], "before each step");
        assert!(place.is_free("deploy/production"));
    }
}

#[test]
fn a_pipeline_whose_lock_was_lost_does_not_deploy() {
    let place = Place::shared(Kind::Redis);
    let mut runner = Runner::new(&place, NOTES);
    let workflow = yaml(&runner.host, "ci/github-workflow.yml");
    let failed = github_job(&mut runner, at(&workflow, "jobs.deploy"), |name| {
        if name == "Deploy, unless the lock was lost" {
            place.take_away("deploy/production");
        }
    });
    failed.expect("the renewal fails").exits_with(79);
    assert_eq!(runner.host.read("calls"), "build.sh \n", "nothing was deployed");
}

#[test]
fn the_token_is_masked_in_githubs_log() {
    let place = Place::shared(Kind::Redis);
    let mut runner = Runner::new(&place, NOTES);
    let workflow = yaml(&runner.host, "ci/github-workflow.yml");
    let file = runner.host.directory.path().join("github-env");
    std::fs::write(&file, "").expect("there is room");
    runner.variables = texts(at(&workflow, "jobs.deploy.env"));
    runner.variables.remove("DLOCK_REDIS_PASSWORD");
    runner.variables.insert("GITHUB_ENV".to_owned(), file.display().to_string());
    let taken = runner.step(word(at(&workflow, "jobs.deploy.steps.0.run"))).finish().succeeds();
    runner.take_over(&runner.host.read("github-env"));
    assert_eq!(taken.said(), format!("::add-mask::{}", runner.variables["DLOCK_TOKEN"]));
}

/// What stands between the quotes after `before`, in the order of the file.
fn quoted_after<'t>(text: &'t str, before: &str) -> Vec<&'t str> {
    text.split(before).skip(1).filter_map(|rest| rest.split('\'').next()).collect()
}

#[test]
fn jenkins_hands_the_lock_from_stage_to_stage() {
    for (deploy, status) in [(LASTS, 0), (FAILS, 5)] {
        let place = Place::shared(Kind::Redis);
        let mut runner = Runner::new(&place, deploy);
        let pipeline = runner.host.fitted(&example("ci/Jenkinsfile"));
        for name in ["DLOCK_REDIS", "DLOCK_KEY"] {
            let value = quoted_after(&pipeline, &format!("{name} = '"))[0].to_owned();
            runner.variables.insert(name.to_owned(), value);
        }
        runner.variables.insert("BUILD_TAG".to_owned(), "jenkins-deploy-7".to_owned());
        let taken = runner.step(quoted_after(&pipeline, "script: '")[0]).finish().succeeds().says_nothing_on_stderr();
        runner.variables.insert("DLOCK_TOKEN".to_owned(), taken.said().trim().to_owned());
        let steps = quoted_after(&pipeline, "sh '");
        assert_eq!(steps.len(), 3, "build, deploy, give up: {steps:?}");
        runner.step(steps[0]).finish().succeeds();
        let run: Running = runner.step(steps[1]).start();
        if status == 0 {
            runner.host.has_started();
            assert!(!place.is_free("deploy/production"));
            runner.host.lets_go();
        }
        run.wait().exits_with(status);
        assert_eq!(place.status("deploy/production")["holders"][0]["label"], "jenkins-deploy-7");
        runner.step(steps[2]).finish().succeeds().says_nothing();
        assert!(place.is_free("deploy/production"));
    }
}
