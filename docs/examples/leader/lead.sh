#!/bin/sh
# The same without systemd: waits, leads, and stands for election again, until TERM.
set -u
trap 'kill -TERM "$job" 2>/dev/null; wait "$job"; exit' TERM INT
while :; do
    dlock run --key scheduler/leader --ttl 10s -- scheduler --verbose &
    job=$!
    wait "$job"
    printf 'lead.sh: no longer the leader: status %s\n' "$?" >&2
    sleep 1
done
