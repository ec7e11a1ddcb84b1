#!/bin/sh
# Fresh-Debian test: `make demo` and `make test` in a minimal Debian, as root and as an ordinary user.
#
#   deploy/chroot_test.sh [SUITE] [TARGET...]    e.g.  deploy/chroot_test.sh trixie test
#
# SUITE is bookworm (Debian 12, the default) or trixie (Debian 13); TARGETs are demo and test,
# both by default. Needs root and debootstrap. Everything is under one temporary folder, mounts
# are in a namespace of their own, and both are gone afterwards (KEEP=1 keeps the folder).
#
# The committed state of this checkout is cloned, the shared data copied beside it. The settings
# by which this computer reaches its package registries (apt's, pip's, certificates, PIP_* and
# proxy variables) are carried over as they are.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
suite=bookworm
case ${1:-} in
    "" | demo | test) ;;
    *)
        suite=$1
        shift
        ;;
esac
targets=${*:-demo test}
demo_args='--nodes 3 --periods 2 --speed 600 --no-browser'

main() {
    [ "$(id -u)" = 0 ] || fail "building a Debian needs root; run it with sudo"
    command -v debootstrap >/dev/null || fail "debootstrap is missing:  apt-get install -y debootstrap"
    if [ -z "${MESHNODE_CHROOT:-}" ]; then
        # Mounts made from here on vanish with this process, whatever way it ends.
        folder=$(mktemp -d "${TMPDIR:-/tmp}/meshnode-fresh.XXXXXX")
        chmod 755 "$folder" # apt fetches, and the member works, without root's rights
        trap '[ -n "${KEEP:-}" ] || rm -rf --one-file-system "$folder"' EXIT
        trap 'exit 130' INT TERM
        # shellcheck disable=SC2086  # targets are a list
        MESHNODE_CHROOT=$folder unshare --mount --propagation private "$0" "$suite" $targets
    else
        folder=$MESHNODE_CHROOT
        fresh_debian
        as_root
        as_user
        echo "fresh $suite: $targets work as root and as an ordinary user"
    fi
}

fresh_debian() {
    step "a minimal $suite in $folder"
    debootstrap --variant=minbase --include=ca-certificates,sudo "$suite" "$folder" "$(mirror)" >"$folder.log" 2>&1 ||
        fail "debootstrap failed:" "$(tail -3 "$folder.log")"
    rm -f "$folder.log"
    carry_settings
    mount -t proc proc "$folder/proc"
    mount -t tmpfs tmpfs "$folder/dev/shm"
    # The demo's meters are pseudo-terminals.
    mkdir -p "$folder/dev/pts"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$folder/dev/pts"
    ln -sf pts/ptmx "$folder/dev/ptmx"
    inside root / "useradd --create-home --shell /bin/bash member"
}

# As root: make alone is installed by hand; the set-up does the rest.
as_root() {
    step "root: set-up from nothing"
    inside root / "apt-get update -qq && apt-get install -y -qq --no-install-recommends make >/dev/null"
    place_checkout root
    run_targets root
}

# As a user, on a system that lacks a package again: the set-up must name it, and what it names must do.
as_user() {
    step "user: a missing package is named"
    inside root / "apt-get remove -y -qq python3-venv 'python3.*-venv' >/dev/null"
    place_checkout member
    if said=$(inside member /srv/member/meshnode "make test" 2>&1); then
        fail "make test should have named python3-venv, but ran:" "$said"
    fi
    line=$(printf '%s\n' "$said" | grep -o 'sudo apt-get install -y .*') || fail "no line to run was named:" "$said"
    step "user: after  $line"
    inside root / "$line -qq >/dev/null"
    run_targets member
}

# run_targets USER: the targets in that user's checkout, then the set-up again, which must be silent.
run_targets() {
    checkout=/srv/$1/meshnode
    for target in $targets; do
        step "$1: make $target"
        began=$(date +%s)
        case $target in
            demo) inside "$1" "$checkout" "make demo ARGS='$demo_args'" ;;
            test) inside "$1" "$checkout" "make test" ;;
        esac
        echo "$1: make $target took $(($(date +%s) - began)) s"
        inside "$1" "$checkout" "deploy/setup.sh run" | grep . && fail "a second set-up did something again"
    done
    return 0
}

# place_checkout USER: the checkout in /srv/USER, with the shared data beside it as its tests expect.
place_checkout() {
    mkdir -p "$folder/srv/$1"
    git clone -q --no-hardlinks "file://$here" "$folder/srv/$1/meshnode"
    data=${MESHNODE_DATA:-$here/../shared/data}
    if [ -d "$data" ]; then
        mkdir "$folder/srv/$1/shared"
        cp -r "$data" "$folder/srv/$1/shared/data"
    fi
    inside root / "chown -R $1: /srv/$1"
}

# inside USER FOLDER COMMAND: run in the chroot, with a login's environment and the registry settings.
inside() {
    chroot "$folder" su --login "$1" --command ". /etc/meshnode-fresh.env; cd $2; $3"
}

# The first Debian mirror of this computer's own apt sources.
mirror() {
    {
        cat /etc/apt/sources.list.d/*.sources 2>/dev/null | sed -n 's/^URIs: *\([^ ]*\).*/\1/p'
        cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
            sed -n 's/^deb  *\(\[[^]]*\] *\)\{0,1\}\([^ ]*\).*/\2/p'
    } | grep . | head -n 1
}

carry_settings() {
    cp -L /etc/resolv.conf /etc/hosts "$folder/etc/"
    # Certificates: the bundle, and what was added to it.
    cp -L /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/ca-certificates.crt"
    [ ! -d /usr/local/share/ca-certificates ] ||
        cp -rL /usr/local/share/ca-certificates/. "$folder/usr/local/share/ca-certificates/"
    # apt: how things are fetched, but no hooks of packages that are not in there.
    for file in /etc/apt/apt.conf /etc/apt/apt.conf.d/*; do
        [ -f "$file" ] && grep -q '^Acquire' "$file" && cp "$file" "$folder/etc/apt/apt.conf.d/"
    done
    [ ! -d /etc/apt/auth.conf.d ] || cp -r /etc/apt/auth.conf.d "$folder/etc/apt/"
    # pip: the system's settings and this user's.
    { cat /etc/pip.conf "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf" 2>/dev/null || true; } | merge_ini >"$folder/etc/pip.conf"
    # Variables, quoted so that the shell inside reads them back.
    env | grep -iE '^(PIP_[A-Z_]*|[a-z]+_proxy|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE)=' |
        sed "s/'/'\\\\''/g; s/^\([^=]*\)=\(.*\)$/export \1='\2'/" >"$folder/etc/meshnode-fresh.env" || true
}

# Several INI files as one: the lines of equal sections together, the later key winning.
merge_ini() {
    awk '/^\[/ { section = $0; next }
         /=/ { key = $0; sub(/ *=.*/, "", key); lines[section, key] = $0; sections[section] = 1 }
         END { for (s in sections) { print s; for (k in lines) { split(k, part, SUBSEP); if (part[1] == s) print lines[k] } } }'
}

step() {
    printf '\n=== %s\n' "$*"
}

fail() {
    printf 'chroot_test: %s\n' "$@" >&2
    exit 1
}

main
