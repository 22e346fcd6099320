# shellcheck shell=bash
# The only place for what ./check prepares beyond ./demo: programs of the system, Spark 3.5, Environment Modules, and
# as root the users and the copy that the tests run in. Sourced after tools/environment.sh.

SPARK35=3.5.9

# Sets venv, and stands in the tree that is tested.
prepare() {
    local cache=${XDG_CACHE_HOME:-${HOME:-$PWD}/.cache}/ood-runtime-tests
    if is_root; then
        prepare_users
        prepare_copy
        cache=$workplace
        venv=$workplace/venv
        export OOD_TEST_CACHE=$workplace
    else
        venv=${OOD_RUNTIME_VENV:-$PWD/.venv}
    fi
    if [ "$mode" != fast ]; then require_programs; fi
    require_environment "$venv" test
    if [ "$mode" != fast ]; then
        require_spark35 "$cache/spark-$SPARK35"
        require_environment_modules "$cache/environment-modules"
    fi
}

# --- programs ---

missing_packages() {
    local debian redhat program
    # program to look for : Debian's package : Red Hat's package
    while IFS=: read -r program debian redhat; do
        if ! has_program "$program"; then
            if [ "$(package_manager)" = apt-get ]; then printf '%s\n' "$debian"; else printf '%s\n' "$redhat"; fi
        fi
    done < <(portal_packages; if is_root; then cluster_packages; fi)
}

portal_packages() {
    cat <<-'END'
	apache2 httpd:apache2-bin:httpd
	chromium chromium-browser google-chrome:chromium:chromium
	chromedriver:chromium-driver:chromedriver
	ruby:ruby:ruby
	redcarpet:ruby-redcarpet:rubygem-redcarpet
	R:r-base-core:R-core
	IRkernel:r-cran-irkernel:R-IRkernel
	bwrap:bubblewrap:bubblewrap
	proot:proot:proot
	java17:openjdk-17-jre-headless:java-17-openjdk-headless
	lmod:lmod:Lmod
	END
}

# What only root can use: clusters made of namespaces (tests/slurm, tests/gridengine), MPI there, and another Debian
# (tests/containers).
cluster_packages() {
    cat <<-'END'
	ip:iproute2:iproute
	munged:munge:munge
	slurmctld:slurmctld:slurm-slurmctld
	slurmd:slurmd:slurm-slurmd
	libpmix.so:libpmix-dev:pmix-devel
	mpiexec:openmpi-bin:openmpi
	mpi4py:python3-mpi4py:python3-mpi4py-openmpi
	Rmpi:r-cran-rmpi:R-Rmpi
	libmpi.so:libopenmpi-dev:openmpi-devel
	sge_qmaster:gridengine-master:gridengine-qmaster
	sge_execd:gridengine-exec:gridengine-execd
	qsub:gridengine-client:gridengine
	sshd:openssh-server:openssh-server
	debootstrap:debootstrap:debootstrap
	END
}

has_program() { # ONE_OF...
    local name
    for name in $1; do
        case $name in
            java17) compgen -G '/usr/lib/jvm/*17*/bin/java' >/dev/null && return 0 ;;
            lib*.so) compgen -G "/usr/lib*/$name" >/dev/null || compgen -G "/usr/lib/*/$name" >/dev/null && return 0 ;;
            redcarpet) ruby -e 'require "redcarpet"' 2>/dev/null && return 0 ;;
            # Debian has either this or Environment Modules: who has the other one keeps it.
            lmod) compgen -G '/usr/share/lmod/lmod/init/bash' >/dev/null && return 0
                compgen -G '/usr/share/[mM]odules/init/bash' >/dev/null && return 0 ;;
            mpi4py) /usr/bin/python3 -I -c 'import mpi4py' 2>/dev/null && return 0 ;;
            Rmpi | IRkernel) compgen -G "/usr/lib*/R/*/$name" >/dev/null && return 0 ;;
            *) PATH=$PATH:/usr/sbin:/sbin command -v "$name" >/dev/null && return 0 ;;
        esac
    done
    return 1
}

require_programs() {
    local missing wanted=() package
    mapfile -t missing < <(missing_packages)
    [ ${#missing[@]} -gt 0 ] || return 0
    if ! may_install; then
        note "tests that need these packages will be skipped; to have them: $(install_command "${missing[@]}")"
        return 0
    fi
    refresh_package_lists
    for package in "${missing[@]}"; do
        if package_exists "$package"; then wanted+=("$package"); else note "this system has no package $package"; fi
    done
    [ ${#wanted[@]} -eq 0 ] || without_services install_packages "${wanted[@]}" || note "not installed: ${wanted[*]}"
}

# Schedulers are for the tests to start: on Debian whoever installs one would have it running.
without_services() { # COMMAND...
    local policy=/usr/sbin/policy-rc.d status=0
    if [ "$(package_manager)" != apt-get ] || ! is_root || [ -e "$policy" ]; then
        "$@"
        return
    fi
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    "$@" || status=$?
    rm -f "$policy"
    trap - EXIT
    return "$status"
}

# --- Spark 3.5, whose layout and security differ from Spark 4 ---

require_spark35() { # DIRECTORY
    export OOD_TEST_SPARK35=${OOD_TEST_SPARK35:-$1/pyspark}
    [ ! -e "$OOD_TEST_SPARK35/jars" ] || return 0
    note "installing Spark $SPARK35 for the tests into $1 (300 MB)"
    local building=$1.$$
    mkdir -p "$building/build"
    # Complete or absent: an interrupted installation stays under the other name.
    if TMPDIR="$building/build" PIP_DISABLE_PIP_VERSION_CHECK=1 "$venv/bin/python" -I -m pip install --quiet \
        --use-pep517 --no-deps --target "$building/spark" "pyspark==$SPARK35" </dev/null >&2; then
        rm -rf "$1"
        mv "$building/spark" "$1"
    else
        note "Spark $SPARK35 was not installed: its tests will be skipped"
    fi
    rm -rf "$building"
}

# --- Environment Modules, which Debian's packages allow only in the place of Lmod: unpacked, not installed ---

require_environment_modules() { # DIRECTORY
    local place
    for place in /usr/share/modules /usr/share/Modules "$1/usr/share/modules"; do
        export OOD_TEST_ENVIRONMENT_MODULES=${OOD_TEST_ENVIRONMENT_MODULES:-$place}
        [ ! -e "$OOD_TEST_ENVIRONMENT_MODULES/init/bash" ] || return 0
        unset OOD_TEST_ENVIRONMENT_MODULES
    done
    local building=$1.$$
    mkdir -p "$building"
    # It looks for its parts where it would be installed.
    if (cd "$building" && apt-get -q download environment-modules && dpkg -x environment-modules_*.deb . \
        && rm environment-modules_*.deb && grep -rlE '/usr/(lib|share)|/etc/environment-modules' usr etc \
        | xargs sed -i -E "s#(/usr/(lib|share)/[^ '\"]*modul|/etc/environment-modules)#$1\\1#g") >&2; then
        rm -rf "$1"
        mv "$building" "$1"
        export OOD_TEST_ENVIRONMENT_MODULES=$1/usr/share/modules
    else
        note "Environment Modules were not unpacked: their tests will be skipped"
    fi
    rm -rf "$building"
}

# --- users ---

prepare_users() {
    local name
    command -v runuser >/dev/null || fail 3 "runuser is missing; $(install_command util-linux)"
    for name in ood-test ood-mallory; do
        id "$name" >/dev/null 2>&1 || useradd --system --create-home --shell /bin/bash "$name"
    done
    TEST_USER=ood-test
    export OOD_TEST_USER=$TEST_USER OOD_TEST_MALLORY=ood-mallory
}

# root's home and many a clone are closed to other users, so the tests run in a copy.
prepare_copy() {
    workplace=${OOD_CHECK_DIR:-/var/cache/ood-runtime-check}
    umask 022
    mkdir -p "$workplace"
    # Two runs at once would take each other's copy away; the lock ends with this process and its tools.
    exec 9>"$workplace/lock"
    flock -n 9 || { note "waiting for another ./check in $workplace"; flock 9; }
    rm -rf "$workplace/tree"
    mkdir "$workplace/tree"
    tar --create --exclude=./.git --exclude=./.venv --exclude='*/__pycache__' --exclude='./.*_cache' . \
        | tar --extract --no-same-owner --directory "$workplace/tree"
    chmod -R u+rwX,go+rX,go-w "$workplace/tree"
    chown -R "$TEST_USER:" "$workplace/tree"
    cd "$workplace/tree"
}

# Sets clean, the command in front of every tool: what tools and tests find must not depend on the
# environment of who calls.
set_clean_environment() { # USER
    local name home
    home=$(getent passwd "$1" | cut -d: -f6)
    clean=(
        env -i "HOME=$home" "USER=$1" "LOGNAME=$1" SHELL=/bin/bash
        "PATH=$venv/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
    )
    while IFS= read -r name; do
        clean+=("$name=${!name}")
    done < <(compgen -e | grep -E '^(CI|TZ|LANG|LC_.*|TERM|PIP_.*|https?_proxy|no_proxy|OOD_SCREENSHOTS|OOD_TEST_.*|SSL_CERT_.*)$')
}
