//! What stands below the options: examples on the screen, more in the long help and the manual, where each heading
//! becomes a section.

pub(super) const EXAMPLES: &str = "\
Examples:
  dlock run --key backup -- ./backup.sh                     on this host
  dlock run -n --redis redis://r1/ --key backup -- ./backup.sh
  dlock run --zk z1,z2,z3 --key deploy -w 10m -- ./deploy.sh --prod
  dlock status --redis redis://r1/ backup

dlock SUBCOMMAND --help and the manual pages (dlock man) say more.";

pub(super) const AFTERWORD: &str = "\
Durations:
  30s, 1h 30m, 250ms; a bare number is seconds and may have a fraction (0.2).

Environment:
  Every option that says [env: NAME] can stand in that variable instead; the
  command line comes first, files come last. Switches take 1/0, true/false, yes/no or on/off.
  An empty variable is unset, except DLOCK_NAMESPACE. DLOCK_REDIS_PASSWORD
  holds the Redis password; --redis-password-file comes before it.
  SSL_CERT_FILE names the authorities that TLS trusts; --tls-ca comes before it.

Files:
  ~/.config/dlock/config.toml   this user's; --config names another
  /etc/dlock/config.toml        this host's; the user's file comes before it
  In TOML: ttl = \"1m\", nonblock = true, redis = [\"redis://r1\"]. The keys are
  those options that have a variable, and redis-password. [profile.NAME] holds
  settings that --profile NAME puts before those at the top of the same file.
  What a file names by a relative path stands beside it. dlock doctor --config
  shows what counts, and why.

Exit status:
  run: the command's own; when a signal killed it, dlock dies of the same signal
    1  doctor: a check failed; release --force: you said no
   64  usage: a bad option, value or combination
   69  backend unreachable or refusing service
   70  a defect in dlock, or output that could not be written
   71  the system refused a process or descriptor; the lock was released
   75  not acquired: held, or waited too long (-E changes it);
       release --force: another holds it by now
   77  authentication or permission refused
   78  configuration or server set-up wrong
   79  lease lost: while the command ran, or the token no longer holds the lock,
       or fence-check found a higher fencing token
  124  the command was stopped after --max-runtime
  126  the command was found but is not executable; the lock was released
  127  the command was not found; the lock was released

Examples:
  dlock run --key backup -- ./backup.sh                     on this host
  dlock run -n --redis redis://r1/ --key backup -- ./backup.sh
  dlock run --zk z1,z2,z3 --key deploy -w 10m -- ./deploy.sh --prod
  dlock status --redis redis://r1/ backup";

pub(super) const RUN_USAGE: &str = "\
dlock run --key KEY [OPTIONS] [--] COMMAND [ARG]...
       dlock run --key KEY [OPTIONS] -c STRING";

pub(super) const RUN_EXAMPLES: &str = "\
Examples:
  dlock run --key job -- ./backup.sh --full
  dlock run -n -E 0 --redis redis://r1/ --key job -- ./backup.sh
  dlock run -w 5m --zk z1,z2,z3 --key deploy -c 'make && make push'
  dlock run --slots 3 --redis redis://r1/ --key render -- ./render.sh";

pub(super) const RUN_AFTERWORD: &str = "\
The command's environment:
  DLOCK_KEY, DLOCK_TOKEN, and DLOCK_FENCE: the fencing token, a number that
  rises with every grant; a resource that has seen a higher one should refuse
  a lower one; unset with -s and --slots. Of several keys DLOCK_KEY and
  DLOCK_FENCE have one line each, in the order given. And the variables of the backend options, without secrets.

Signals:
  Every signal that can be caught is passed on to the command, once, also the
  second time; not those of the terminal, which the command gets by itself.
  dlock goes on until the command has ended. When it ended after INT, TERM, HUP
  or QUIT, what is left of it is stopped before the lock is released. Ctrl-Z
  stops the job and keeps the lock; while it waits for the lock, it gives up its
  place, and queues anew when it is continued.

Stopping:
  Where dlock itself stops the command, it signals everything that the command
  has started: first --stop-signal and CONT, after --kill-after KILL, until
  nothing is left. When the lock is not held any more it kills at once. What
  this user may not kill (sudo) is named on standard error, and the lock is
  renewed while it lives.

Under systemd:
  KillMode=mixed, so that the command gets one TERM and not two; and with
  Type=notify NotifyAccess=all, since the command is not the main process.

Exit status:
  The command's own; when a signal killed it, dlock dies of the same signal.
  Before and beside that:
   64  usage: a bad option, value or combination
   69  backend unreachable or refusing service
   70  a defect in dlock
   71  the system refused a process or descriptor; the lock was released
   75  not acquired: held, or waited too long (-E changes it)
   77  authentication or permission refused
   78  configuration or server set-up wrong
   79  lease lost while the command ran (whatever it returned)
  124  the command was stopped after --max-runtime
  126  the command was found but is not executable; the lock was released
  127  the command was not found; the lock was released

Examples:
  dlock run --key job -- ./backup.sh --full
  dlock run -n -E 0 --redis redis://r1/ --key job -- ./backup.sh
  dlock run -w 5m --zk z1,z2,z3 --key deploy -c 'make && make push'
  dlock run --max-runtime 2h --descendants kill --key job -- ./backup.sh";

pub(super) const ACQUIRE_EXAMPLES: &str = "\
Examples:
  token=$(dlock acquire --redis redis://r1/ --key deploy --ttl 10m) || exit
  dlock release --redis redis://r1/ --key deploy --token \"$token\"

  eval \"$(dlock acquire --export --key deploy --ttl 10m)\" || exit
  dlock release";

pub(super) const RENEW_EXAMPLES: &str = "\
Examples:
  dlock renew --key deploy --token \"$token\"
  dlock renew --key deploy --token \"$token\" --ttl 1h";

pub(super) const RELEASE_EXAMPLES: &str = "\
Examples:
  dlock release --key deploy --token \"$token\"
  dlock release                                after eval \"$(dlock acquire --export …)\"
  dlock release --force --key deploy           stops the holder's command first";

pub(super) const STATUS_EXAMPLES: &str = "\
Examples:
  dlock status backup deploy
  dlock status --json --zk z1,z2,z3 deploy
  dlock status --watch backup
  dlock status --exit-code backup >/dev/null || echo somebody is at it";

pub(super) const LIST_EXAMPLES: &str = "\
Examples:
  dlock list
  dlock list --redis redis://r1/ 'deploy/*'
  dlock list --watch --json | while read -r locks; do …; done";

pub(super) const TOP_EXAMPLES: &str = "\
Examples:
  dlock top --redis redis://r1/
  dlock top --zk z1,z2,z3 --namespace ci";

pub(super) const DOCTOR_EXAMPLES: &str = "\
Examples:
  dlock doctor --redis redis://r1/ --ttl 10s
  dlock doctor --json --zk z1,z2,z3 | jq '.[] | select(.level != \"ok\")'
  dlock doctor --before zk -b redis+zk --redis redis://r1/ --zk z1,z2,z3
  dlock doctor --config --profile production";

pub(super) const BENCH_EXAMPLES: &str = "\
Examples:
  dlock bench --redis redis://r1/
  dlock bench --redis redis://r1/ --zk z1,z2,z3
  dlock bench --json --duration 10s --zk z1,z2,z3 | jq '.backends[].renew'";

pub(super) const FENCE_CHECK_EXAMPLES: &str = "\
Examples:
  dlock run --redis redis://r1/ --key report -- ./publish.sh
  and in publish.sh, which writes to a disk that all hosts mount:
  (
      flock 9
      dlock fence-check --file /srv/report.fence || exit
      mv report.new /srv/report
  ) 9>/srv/report.lock";

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  . <(dlock completions bash)                               in ~/.bashrc
  dlock completions zsh >~/.zfunc/_dlock                    with fpath+=~/.zfunc before compinit
  dlock completions fish >~/.config/fish/completions/dlock.fish

They also complete the names of locks that are held or awaited: they ask where
the line, the environment and the files say, for 300 ms at most, and are silent
when there is no answer.";
