#!/bin/sh
# Set-up: makes .venv in the checkout hold what `make demo` or `make test` needs.
#
#   deploy/setup.sh run     the node: requirements.lock, and the project itself
#   deploy/setup.sh test    the same, and requirements-test.lock
#
# A second run finds its stamps in .venv and does nothing. A stamp holds a hash of what was
# installed; when the locks of the node change, .venv is made anew, so nothing stale stays.
# Missing Debian packages are installed when root, and named otherwise.
# PYTHON=... chooses another interpreter than python3.
set -eu

goal=${1:-}
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

main() {
    case $goal in run | test) ;; *) fail "'$goal' is no goal; say  deploy/setup.sh run  or  deploy/setup.sh test" ;; esac
    # One set-up at a time: a second one waits, and then finds the stamp.
    exec 9<.
    flock 9
    system_packages
    check_python
    stamp_run=$(stamp requirements-build.lock requirements.lock)
    stamp_project=$(stamp pyproject.toml)
    stamp_test=$(stamp requirements-test.lock)
    done_before run "$stamp_run" || install_run
    done_before project "$stamp_project" || install_project
    if [ "$goal" = test ]; then
        done_before test "$stamp_test" || install_test
    fi
}

done_before() {
    [ "$(cat ".venv/stamp-$1" 2>/dev/null)" = "$2" ]
}

# The Debian packages of deploy/system-packages.txt that this goal needs and that are missing.
missing_packages() {
    while read -r who package kind name; do
        case $who in
            run) ;;
            test) [ "$goal" = test ] || continue ;;
            *) continue ;;
        esac
        case $kind in
            command) command -v "$name" >/dev/null || echo "$package" ;;
            module) "$python" -c "import $name" 2>/dev/null || echo "$package" ;;
            file) [ -e "$name" ] || echo "$package" ;;
        esac
    done <deploy/system-packages.txt
}

system_packages() {
    missing=$(missing_packages | tr '\n' ' ')
    missing=${missing% }
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        fail "these system packages are missing: $missing" \
            "install them with:  sudo apt-get install -y $missing" \
            "then run the same command again"
    fi
    echo "installing system packages: $missing"
    apt-get update -qq
    # shellcheck disable=SC2086  # a list of names, to be split
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    still=$(missing_packages | tr '\n' ' ')
    [ -z "$still" ] || fail "$python still lacks, after their installation: $still" \
        "use Debian's own python3, or one that has them, with:  PYTHON=/usr/bin/python3"
}

# Up to 3.13: coincurve and miniupnpc, which libp2p imports, have no wheels for 3.14 yet.
check_python() {
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' ||
        fail "$python is $("$python" --version); Python 3.11, 3.12 or 3.13 is needed" \
            "name one with:  PYTHON=python3.13"
}

# What a stamp says: the files installed from, the interpreter, and where .venv is.
stamp() {
    { cat "$@" deploy/setup.sh; "$python" -c 'import sys; print(sys.version, sys.executable)'; pwd; } | sha256sum
}

install_run() {
    echo "setting up .venv ($("$python" --version), $(grep -c == requirements.lock) packages); this takes a minute or two"
    "$python" -m venv --clear .venv
    install -r requirements-build.lock
    # Two pure-Python packages have no wheel: the setuptools just installed builds them, not one
    # fetched unpinned. (The variable is for the pip of Debian 12, which has an older way as well.)
    PIP_USE_PEP517=1 install --no-build-isolation -r requirements.lock
    echo "$stamp_run" >.venv/stamp-run
}

# The checkout itself, editable: entry points and metadata as in a release, no build after a change.
install_project() {
    .venv/bin/python -m pip install -qq --disable-pip-version-check --no-index --no-deps --no-build-isolation -e .
    echo "$stamp_project" >.venv/stamp-project
}

install_test() {
    echo "adding the tests' packages to .venv ($(grep -c == requirements-test.lock) packages)"
    install -r requirements-test.lock
    echo "$stamp_test" >.venv/stamp-test
}

install() {
    .venv/bin/python -m pip install -qq --disable-pip-version-check --require-hashes --no-deps "$@"
}

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

main
