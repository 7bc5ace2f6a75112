#!/usr/bin/env bash
# What the scripts of the tests share; they source it: how they fail, and how they install Debian's packages.

fail() {
    printf '%s: %s\n' "${0#./}" "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "not root and no sudo: run as root: $*"
    fi
}

# Debian starts the services of a package that it installs; nobody asked for these, and the tests start their own.
# The package manager asks policy-rc.d, and 101 means "no". One at a time: a second would keep the first one's answer.
install_without_starting() {
    mkdir -p target
    (
        flock 9
        policy=/usr/sbin/policy-rc.d kept='' status=0
        if [ -e "$policy" ]; then
            kept=$(mktemp -u "$policy.kept.XXXXXX")
            as_root mv "$policy" "$kept"
        fi
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        {
            as_root apt-get update -q &&
                as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
        } </dev/null || status=$?
        as_root rm -f "$policy"
        [ -z "$kept" ] || as_root mv "$kept" "$policy"
        exit "$status"
    ) 9>target/packages.lock
}

# Installs the packages that the function `missing_packages` names; `$1` says what is needed where there is no apt-get.
install_missing() {
    local packages
    read -r -a packages <<<"$(missing_packages | tr '\n' ' ')"
    [ "${#packages[@]}" -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "$1; on Debian and Ubuntu this script would install: ${packages[*]}"
    printf '%s: installing %s\n' "${0#./}" "${packages[*]}" >&2
    install_without_starting "${packages[@]}" || fail "could not install ${packages[*]}"
}
