#!/usr/bin/env bash
# Runs the tests about ZooKeeper on servers of other versions, which Maven fetches below target/zookeeper.
#
#   tests/zookeeper.sh                             the newest version that is known here
#   tests/zookeeper.sh 3.5.10 3.9.5                these
#   TESTS=zookeeper::transport:: tests/zookeeper.sh    only the tests whose names contain this
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# What the servers load and their own papers do not name.
METRICS=4.1.12.1
SNAPPY=1.1.10.5

# shellcheck source=tests/packages.sh
. tests/packages.sh

# For shells that have not read the profile.
PATH=$PATH:${HOME:-/root}/.cargo/bin

missing_packages() {
    command -v cc >/dev/null || echo gcc libc6-dev
    command -v mvn >/dev/null || echo maven
    [ -e /usr/share/java/zookeeper.jar ] || echo libzookeeper-java
}

install_missing "the tests on other versions of ZooKeeper need a C linker, mvn and ZooKeeper 3.8 as /usr/share/java/zookeeper.jar"

dependency() {
    printf '<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>\n' "$@"
}

# Fetches the jars of version $1 into directory $2.
fetch() {
    local version=$1 directory=$2
    [ -e "$directory/complete" ] && return
    mkdir -p "$directory"
    {
        printf '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>\n'
        printf '<groupId>dlock</groupId><artifactId>servers</artifactId><version>1</version><packaging>pom</packaging>\n'
        printf '<dependencies>\n'
        dependency org.apache.zookeeper zookeeper "$version"
        dependency io.dropwizard.metrics metrics-core "$METRICS"
        dependency org.xerial.snappy snappy-java "$SNAPPY"
        printf '</dependencies></project>\n'
    } >"$directory/pom.xml"
    mvn -q -B -f "$directory/pom.xml" dependency:copy-dependencies -DoutputDirectory="$directory/lib" ||
        fail "Maven could not fetch ZooKeeper $version"
    touch "$directory/complete"
}

# As many at a time as tests/run.sh has.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) < 2 ? 6 : 10))}

[ "$#" -gt 0 ] || set -- 3.9.5
for version in "$@"; do
    directory=$PWD/target/zookeeper/$version
    fetch "$version" "$directory"
    printf 'tests/zookeeper.sh: ZooKeeper %s\n' "$version" >&2
    DLOCK_TEST_ZOOKEEPER="$directory/lib/*" cargo test --test it "${TESTS:-zookeeper::}"
done
