#!/bin/sh
# Backs up into a repository that several hosts share, one host at a time, and tells cron what is worth a mail.
#
#   backup.sh REPOSITORY DIRECTORY…
set -u
repository=$1
shift

dlock run --key "backup/$repository" --wait 4h --max-runtime 6h --kill-after 8s --ttl 1m -- \
    restic --repo "$repository" --quiet backup "$@"
status=$?

case $status in
    0) ;;
    # A snapshot was made, without the files that could not be read.
    3) printf 'backup.sh: incomplete: restic could not read everything\n' >&2 ;;
    # dlock's own: it has said why. Nothing was backed up, and the next run will.
    69 | 75) exit "$status" ;;
    79) printf 'backup.sh: stopped: the lock was lost; restic unlock, if it says that it is locked\n' >&2 ;;
    124) printf 'backup.sh: stopped: it took too long\n' >&2 ;;
    *) printf 'backup.sh: failed with status %s\n' "$status" >&2 ;;
esac
exit "$status"
