#!/usr/bin/env bash
# Shares locks with the real libraries of other languages, in both directions, on servers of its own.
#
#   tests/interop/run.sh                        all libraries
#   tests/interop/run.sh redsync curator-mutex  these
#   tests/interop/run.sh --install              none: installs only
#   DLOCK_INTEROP_SECONDS=30 tests/interop/run.sh   let both kinds contend for so long
#
# What it needs is installed below target/interop, the languages themselves as Debian's packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

export VERSION_REDIS_PY=8.1.0 VERSION_PYTHON_REDIS_LOCK=4.0.1 VERSION_KAZOO=2.11.0
agents=$PWD/tests/interop/agents
home=$PWD/target/interop

# shellcheck source=tests/packages.sh
. tests/packages.sh

# The version of a library in the file that pins it: what follows its name on the line, or on the next.
pinned() {
    grep -A 1 "$1" "$agents/$2" | grep -o '[0-9][0-9]*\.[0-9][-0-9A-Za-z.]*' | head -n 1
}

VERSION_REDLOCK=$(pinned '"redlock"' package.json)
VERSION_REDSYNC=$(pinned 'redsync/v4 v' go/go.mod)
VERSION_REDISSON=$(pinned '<artifactId>redisson<' pom.xml)
VERSION_CURATOR=$(pinned '<artifactId>curator-recipes<' pom.xml)
VERSION_GO_ZOOKEEPER=$(pinned 'go-zookeeper/zk v' go-zookeeper/go.mod)
export VERSION_REDLOCK VERSION_REDSYNC VERSION_REDISSON VERSION_CURATOR VERSION_GO_ZOOKEEPER

installs_only=''
if [ "${1-}" = --install ]; then
    installs_only=yes
    shift
fi
on_redis=(redis-py node-redlock redsync python-redis-lock redisson redisson-fair)
on_zookeeper=(curator-mutex curator-rw go-zookeeper kazoo-lock-names kazoo kazoo-patterns kazoo-rw)
if [ "$#" -gt 0 ]; then
    known=" ${on_redis[*]} ${on_zookeeper[*]} "
    chosen_redis=() chosen_zookeeper=()
    for library in "$@"; do
        case $known in *" $library "*) ;; *) fail "there is no library $library; these are known:$known" ;; esac
        case " ${on_redis[*]} " in
            *" $library "*) chosen_redis+=("$library") ;;
            *) chosen_zookeeper+=("$library") ;;
        esac
    done
    on_redis=("${chosen_redis[@]}") on_zookeeper=("${chosen_zookeeper[@]}")
fi

# For shells that have not read the profile.
PATH=$PATH:${HOME:-/root}/.cargo/bin:/usr/local/go/bin

missing_packages() {
    command -v redis-server >/dev/null || echo redis-server
    [ -e /usr/share/java/zookeeper.jar ] || echo libzookeeper-java
    python3 -c 'import ensurepip' 2>/dev/null || echo python3 python3-venv
    command -v npm >/dev/null || echo nodejs npm
    command -v go >/dev/null || echo golang-go
    command -v javac >/dev/null || echo default-jdk-headless
    command -v mvn >/dev/null || echo maven
}

install_missing "python3 with venv, node with npm, go, a JDK, mvn, redis-server and ZooKeeper are needed"

# Does $2 to $n, once: again only when what is at $1 belongs to other files than those of today.
once() {
    local stamp=$home/$1.done
    shift
    local now
    now=$(cat "$agents"/*.* "$agents"/go*/* tests/interop/run.sh | cksum)
    [ "$(cat "$stamp" 2>/dev/null)" = "$now" ] && return
    "$@" || fail "could not install what ${stamp##*/} stands for: $*"
    printf '%s\n' "$now" >"$stamp"
}

python() {
    python3 -m venv "$home/python" &&
        "$home/python/bin/pip" install -q --disable-pip-version-check \
            "redis==$VERSION_REDIS_PY" "python-redis-lock==$VERSION_PYTHON_REDIS_LOCK" "kazoo==$VERSION_KAZOO"
}

node_redlock() {
    mkdir -p "$home/node" && cp "$agents/package.json" "$agents/redlock.cjs" "$home/node" &&
        npm install --prefix "$home/node" --no-fund --no-audit --loglevel=error
}

# Which needs Go 1.26: from 1.21 on, go fetches that by itself.
redsync() {
    if ! [[ $(go env GOVERSION) =~ ^go1\.([0-9]+) ]] || [ "${BASH_REMATCH[1]}" -lt 21 ]; then
        fail "go 1.21 or later is needed, see https://go.dev/dl; $(command -v go) is $(go env GOVERSION)"
    fi
    mkdir -p "$home/go/source" && cp "$agents"/go/* "$home/go/source" &&
        go -C "$home/go/source" build -mod=mod -o "$home/go/agent" .
}

go_zookeeper() {
    mkdir -p "$home/go-zookeeper/source" && cp "$agents"/go-zookeeper/* "$home/go-zookeeper/source" &&
        go -C "$home/go-zookeeper/source" build -mod=mod -o "$home/go-zookeeper/agent" .
}

java_libraries() {
    mkdir -p "$home/java/classes" &&
        mvn -q -B -f "$agents/pom.xml" dependency:copy-dependencies -DoutputDirectory="$home/java/lib" &&
        javac -cp "$home/java/lib/*" -d "$home/java/classes" "$agents"/*.java
}

# One at a time: each looks for what the other may be half done with.
mkdir -p "$home"
exec 9>"$home/lock"
flock 9
once python python
once node node_redlock
once go redsync
once go-zookeeper go_zookeeper
once java java_libraries
exec 9>&-
[ -z "$installs_only" ] || exit 0

cargo build -q
dlock=$(cargo build --message-format=json 2>/dev/null | grep -o '"executable":"[^"]*/dlock"' | head -n 1 | cut -d '"' -f 4)
[ -x "$dlock" ] || fail "the binary was not found"

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# In memory where there is room: a disk that others write to as well keeps a server longer than a short lease lasts.
data_home() {
    local free
    free=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)
    if [ "${free:-0}" -ge 1048576 ]; then echo /dev/shm; else echo "$home"; fi
}

servers=() drivers=()
data=$(mktemp -d "$(data_home)/dlock-servers.XXXXXX")
stop() {
    local server driver
    for driver in "${drivers[@]}"; do
        kill -- "-$driver" 2>/dev/null || true
    done
    for server in "${servers[@]}"; do
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    done
    rm -rf "$data"
}
trap stop EXIT
trap 'exit 130' INT TERM

# Waits until the server that was started last, whose log is $1, does what the rest says.
comes_up() {
    local log=$1
    shift
    for _ in $(seq 400); do
        "$@" && return
        kill -0 "${servers[-1]}" 2>/dev/null || break
        sleep 0.05
    done
    fail "the server does not start: $(tail -n 3 "$log")"
}

# A server that comes up may take a connection and never answer on it: then the next one is asked.
zookeeper_is_well() (
    answer=''
    { exec 3<>"/dev/tcp/127.0.0.1/$zookeeper_port" && printf ruok >&3 && read -r -t 2 -N 4 answer <&3; } 2>/dev/null
    [ "$answer" = imok ]
)

start_redis() {
    redis_port=$(free_port)
    redis-server --bind 127.0.0.1 --port "$redis_port" --dir "$data" --save '' --appendonly no >"$data/redis.log" 2>&1 &
    servers+=("$!")
    comes_up "$data/redis.log" grep -q 'Ready to accept connections' "$data/redis.log"
}

# Containers are looked for every second, so that an empty directory goes under a library that still uses it.
start_zookeeper() {
    zookeeper_port=$(free_port)
    mkdir "$data/zookeeper"
    printf '%s\n' "dataDir=$data/zookeeper" "clientPort=$zookeeper_port" clientPortAddress=127.0.0.1 tickTime=200 \
        minSessionTimeout=1000 maxSessionTimeout=120000 maxClientCnxns=0 admin.enableServer=false \
        4lw.commands.whitelist=ruok >"$data/zookeeper.cfg"
    java -Xmx192m -XX:+PerfDisableSharedMem -Dzookeeper.forceSync=no -Dznode.container.checkIntervalMs=1000 \
        -cp /usr/share/java/zookeeper.jar org.apache.zookeeper.server.quorum.QuorumPeerMain "$data/zookeeper.cfg" \
        >"$data/zookeeper.log" 2>&1 &
    servers+=("$!")
    comes_up "$data/zookeeper.log" zookeeper_is_well
}

# Both kinds of libraries at a time: nearly all that a check does is to wait. Without job control they would ignore SIGINT, and
# so would dlock.
set -m
if [ "${#on_redis[@]}" -gt 0 ]; then
    start_redis
    python3 tests/interop/redis_driver.py "$dlock" "redis://127.0.0.1:$redis_port" "$home" docs/interop.md \
        "${on_redis[@]}" </dev/null &
    drivers+=("$!")
fi
if [ "${#on_zookeeper[@]}" -gt 0 ]; then
    start_zookeeper
    python3 tests/interop/zookeeper_driver.py "$dlock" "127.0.0.1:$zookeeper_port" "$home" docs/interop.md \
        "${on_zookeeper[@]}" </dev/null &
    drivers+=("$!")
fi
set +m
status=0
for driver in "${drivers[@]}"; do
    wait "$driver" || status=1
done
drivers=()
[ "$status" -eq 0 ]
