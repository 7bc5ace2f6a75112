#!/usr/bin/env bash
# Shares locks with the real libraries of other languages, in both directions, on a Redis server of its own.
#
#   tests/interop/run.sh                        all libraries
#   tests/interop/run.sh redsync redisson       these
#   DLOCK_INTEROP_SECONDS=30 tests/interop/run.sh   let both kinds contend for so long
#
# What it needs is installed below target/interop, the languages themselves as Debian's packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

export VERSION_REDIS_PY=8.1.0 VERSION_PYTHON_REDIS_LOCK=4.0.1
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
export VERSION_REDLOCK VERSION_REDSYNC VERSION_REDISSON

# For shells that have not read the profile.
PATH=$PATH:${HOME:-/root}/.cargo/bin:/usr/local/go/bin

missing_packages() {
    command -v redis-server >/dev/null || echo redis-server
    python3 -c 'import ensurepip' 2>/dev/null || echo python3 python3-venv
    command -v npm >/dev/null || echo nodejs npm
    command -v go >/dev/null || echo golang-go
    command -v javac >/dev/null || echo default-jdk-headless
    command -v mvn >/dev/null || echo maven
}

install_missing "python3 with venv, node with npm, go, a JDK, mvn and redis-server are needed"

# Does $2 to $n, once: again only when what is at $1 belongs to other files than those of today.
once() {
    local stamp=$home/$1.done
    shift
    local now
    now=$(cat "$agents"/*.* "$agents"/go/* tests/interop/run.sh | cksum)
    [ "$(cat "$stamp" 2>/dev/null)" = "$now" ] && return
    "$@" || fail "could not install what ${stamp##*/} stands for: $*"
    printf '%s\n' "$now" >"$stamp"
}

python() {
    python3 -m venv "$home/python" &&
        "$home/python/bin/pip" install -q --disable-pip-version-check \
            "redis==$VERSION_REDIS_PY" "python-redis-lock==$VERSION_PYTHON_REDIS_LOCK"
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

redisson() {
    mkdir -p "$home/java/classes" &&
        mvn -q -B -f "$agents/pom.xml" dependency:copy-dependencies -DoutputDirectory="$home/java/lib" &&
        javac -cp "$home/java/lib/*" -d "$home/java/classes" "$agents/RedissonAgent.java"
}

mkdir -p "$home"
once python python
once node node_redlock
once go redsync
once java redisson

cargo build -q
dlock=$(cargo build --message-format=json 2>/dev/null | grep -o '"executable":"[^"]*/dlock"' | head -n 1 | cut -d '"' -f 4)
[ -x "$dlock" ] || fail "the binary was not found"

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
data=$(mktemp -d "$home/redis.XXXXXX")
redis-server --bind 127.0.0.1 --port "$port" --dir "$data" --save '' --appendonly no >"$data/log" 2>&1 &
server=$!
stop() {
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    rm -rf "$data"
}
trap stop EXIT
trap 'exit 130' INT TERM
for _ in $(seq 200); do
    grep -q 'Ready to accept connections' "$data/log" && break
    kill -0 "$server" 2>/dev/null || fail "redis-server does not start: $(tail -n 3 "$data/log")"
    sleep 0.05
done

python3 tests/interop/driver.py "$dlock" "redis://127.0.0.1:$port" "$home" docs/interop.md "$@"
