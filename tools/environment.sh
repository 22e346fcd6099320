# shellcheck shell=bash
# The only place for what ./demo and ./check share: finding a Python, the virtual environment,
# packages of the system. Sourced; the caller has set -euo pipefail and stands in the clone.

note() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

fail() { # STATUS TEXT
    local status=$1
    shift
    note "$@"
    exit "$status"
}

is_root() { [ "$(id -u)" -eq 0 ]; }

may_install() { is_root || sudo -n true 2>/dev/null; }

as_root() { if is_root; then "$@"; else sudo -n "$@"; fi; }

# The user who will run what is installed: ./check as root sets TEST_USER.
as_user_of_tests() {
    if [ -n "${TEST_USER:-}" ]; then runuser -u "$TEST_USER" -- "$@"; else "$@"; fi
}

package_manager() {
    local name
    for name in apt-get dnf; do
        if command -v "$name" >/dev/null; then
            printf '%s\n' "$name"
            return
        fi
    done
    printf 'none\n'
}

# Once in a run, and only when something is missing.
refresh_package_lists() {
    [ -z "${lists_are_fresh:-}" ] || return 0
    lists_are_fresh=yes
    [ "$(package_manager)" = apt-get ] && may_install || return 0
    note "reading the list of packages (apt-get update)"
    as_root apt-get -q update </dev/null >&2 || note "apt-get update failed: going on with the old list"
}

package_exists() {
    case $(package_manager) in
        # Not a package that only others name: it needs a version to install.
        apt-get) [[ $(apt-cache policy "$1" 2>/dev/null) == *'Candidate: '[0-9]* ]] ;;
        dnf) dnf -q list "$1" </dev/null >/dev/null 2>&1 ;;
        *) return 1 ;;
    esac
}

install_packages() { # NAME...
    note "installing from the system's packages: $*"
    case $(package_manager) in
        apt-get)
            as_root env DEBIAN_FRONTEND=noninteractive \
                apt-get -q -y --no-install-recommends install "$@" </dev/null >&2
            ;;
        dnf) as_root dnf -q -y install "$@" </dev/null >&2 ;;
        *) return 1 ;;
    esac
}

# The line that a person with the rights can type.
install_command() { # NAME...
    case $(package_manager) in
        apt-get) printf 'sudo apt-get update && sudo apt-get install -y %s\n' "$*" ;;
        dnf) printf 'sudo dnf install -y %s\n' "$*" ;;
        *) printf 'install with the package manager of this system: %s\n' "$*" ;;
    esac
}

# Debian splits ensurepip off into a package of its own, so its presence is asked for too.
python_suits() {
    (cd / && as_user_of_tests "$1" -I -c \
        'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))') >/dev/null 2>&1
}

find_python() {
    local name path
    for name in python3.13 python3.12 python3.11 python3 python3.14; do
        while IFS= read -r path; do
            if python_suits "$path"; then
                printf '%s\n' "$path"
                return 0
            fi
        done < <(type -ap "$name"; printf '%s\n' "/usr/local/bin/$name" "/usr/bin/$name")
    done
    return 1
}

python_package() {
    local version suffix=''
    [ "$(package_manager)" = apt-get ] && suffix=-venv
    for version in 3.13 3.12 3.11 3.14 3; do
        if package_exists "python$version$suffix"; then
            printf 'python%s%s\n' "$version" "$suffix"
            return
        fi
    done
    printf 'python3.11%s\n' "$suffix"
}

# Sets PYTHON to a Python >= 3.11 that can make virtual environments; installs one where that is allowed.
require_python() {
    local package
    if PYTHON=$(find_python); then return; fi
    refresh_package_lists
    package=$(python_package)
    if may_install && install_packages "$package" && PYTHON=$(find_python); then return; fi
    fail 3 "no Python 3.11 or newer with the venv module was found; install one and start again: $(install_command "$package")"
}

# What was installed into which place from which description; the clone may have been moved.
environment_stamp() { # VENV
    { printf '%s\n' "$1" "$PWD"; cat pyproject.toml; } | sha256sum
}

environment_is_current() { # VENV EXTRA
    [ -x "$1/bin/ood-runtime" ] && "$1/bin/python" -I -c pass 2>/dev/null \
        && [ "$(cat "$1/installed-$2" 2>/dev/null)" = "$(environment_stamp "$1")" ]
}

# Makes the virtual environment with our package (editable: the clone is what runs) and one of its
# extras. Costs nothing when pyproject.toml is as it was.
require_environment() { # VENV EXTRA
    local venv=$1 extra=$2 quiet=()
    unset PYTHONHOME PYTHONPATH
    if environment_is_current "$venv" "$extra"; then return; fi
    require_python
    [ -t 2 ] || quiet=(--quiet)
    note "installing into $venv; the first time this takes some minutes (Spark alone is 400 MB)"
    # Scripts hold the path of their interpreter, so a moved clone begins anew.
    if [ "$(cat "$venv/place" 2>/dev/null)" != "$venv" ] || ! "$venv/bin/python" -I -m pip --version >/dev/null 2>&1; then
        "$PYTHON" -I -m venv --clear "$venv"
        printf '%s\n' "$venv" >"$venv/place"
    fi
    # pip builds Spark's package here, because /tmp is small on many machines, and in the way that old
    # and new versions of pip share.
    mkdir -p "$venv/build"
    TMPDIR="$venv/build" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_USER=0 \
        "$venv/bin/python" -I -m pip install "${quiet[@]}" --use-pep517 --editable ".[$extra]" </dev/null >&2 \
        || fail 3 "the installation failed (pip's message is above); start $0 again when the cause is gone"
    rm -rf "$venv/build"
    environment_stamp "$venv" >"$venv/installed-$extra"
}
