#!/bin/sh
# Makes a Debian machine ready to run and test vmlat: the distribution's packages, and a virtual
# environment in .venv that sees the distribution's bcc, libvirt and ovs.  `make` runs it before every
# target that needs it; when everything is in place it only checks that, and changes nothing.
#
# What was installed is recorded in .vmlat/setup.stamp (a hash of the inputs), and the record is
# never trusted alone: the packages and every file of the environment are looked at each time.
set -u

cd "$(dirname "$0")/.." || exit 1
root=$(pwd -P)

# The interpreter must be the distribution's: only that one can see its bcc, libvirt and ovs.
python=/usr/bin/python3
packages="
    python3 python3-venv python3-bpfcc python3-libvirt python3-openvswitch bpftrace bpftool
    iproute2 iputils-ping ethtool procps kmod sudo tmux
    mmdebstrap debian-archive-keyring erofs-utils
    openssh-client
"

state=.vmlat
stamp=$state/setup.stamp
log=$state/setup.log
child=

say() { printf 'set-up: %s\n' "$*"; }
die() {
    printf 'set-up: %s\n' "$*" >&2
    exit 1
}

stop() {
    trap - INT TERM HUP
    if [ -n "$child" ]; then
        kill "$child" 2>/dev/null
        wait "$child" 2>/dev/null
    fi
    die "interrupted; the next run takes it up again"
}
trap stop INT TERM HUP

# logged WHAT COMMAND...: run it with its output in the log, and say every 15 s that it lives.
logged() {
    what=$1
    shift
    printf '\n== %s\n' "$*" >>"$log"
    "$@" >>"$log" 2>&1 </dev/null 9>&- &
    child=$!
    ticks=0
    while kill -0 "$child" 2>/dev/null; do
        sleep 0.2
        ticks=$((ticks + 1))
        if [ $((ticks % 75)) -eq 0 ]; then
            say "  $what: $((ticks / 5)) s, $(tail -n 1 "$log" | tr -d '\r' | cut -c 1-70)"
        fi
    done
    wait "$child"
    status=$?
    child=
    return $status
}

# Why the last logged command failed, for a message of one line.
reason() {
    awk '/^== / { found = full = "" }
         /No space left on device/ { full = "no space left on device" }
         /^E: |^ERROR|[Ee]rror: / && !found { found = $0 }
         END { print full ? full : found }' "$log" | tr -d '\r' | cut -c 1-200
}

missing_packages() {
    # shellcheck disable=SC2086
    installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $packages 2>/dev/null |
        sed -n 's/^installed //p')
    for package in $packages; do
        case "
$installed
" in
        *"
$package
"*) ;;
        *) printf '%s ' "$package" ;;
        esac
    done
}

# Everything that decides what .venv contains, and where it is (its scripts name the path).
key() {
    {
        cat tools/setup.sh tools/vmlat requirements-dev.txt
        sed '/^\[tool\./,$d' pyproject.toml
        printf '%s\n' "$root"
    } | sha256sum | cut -d ' ' -f 1
}

# Prints what is wrong with the environment, or nothing.
environment_fault() {
    if [ ! -e "$stamp" ]; then
        echo "not set up yet"
    elif [ "$(cat "$stamp")" != "$(key)" ]; then
        echo "its requirements, or its place, changed"
    elif ! [ -x .venv/bin/python ]; then
        echo "its interpreter is gone"
    else
        found=$(.venv/bin/python -I -B tools/verify_venv.py . 2>&1) ||
            printf '%s\n' "${found:-its check failed}" | tail -n 1
    fi
}

apt() {
    DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l APT_LISTCHANGES_FRONTEND=none LC_ALL=C.UTF-8 \
        apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}

install_packages() {
    [ "$(id -u)" -eq 0 ] ||
        die "these Debian packages are missing and only root can install them: $1"
    say "installing Debian packages: $1"
    # shellcheck disable=SC2086
    logged "apt-get install" apt install --no-install-recommends $1 && return
    if tail -n 5 "$log" | grep -q "dpkg was interrupted"; then
        say "finishing an interrupted installation"
        logged "dpkg --configure" env DEBIAN_FRONTEND=noninteractive dpkg --configure -a
    else
        say "refreshing the package lists"
        logged "apt-get update" apt -o APT::Update::Error-Mode=any update ||
            die "apt-get update failed (network?): $(reason); log: $log"
    fi
    # shellcheck disable=SC2086
    logged "apt-get install" apt install --no-install-recommends $1 ||
        die "apt-get install failed: $(reason); log: $log"
}

build_environment() {
    free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1024) }')
    [ "$free" -ge 300 ] || die "only $free MB of disk are free here; .venv needs 200 to 300"
    rm -rf .venv "$stamp" || die "cannot replace .venv"
    unset PYTHONHOME PYTHONPATH VIRTUAL_ENV
    export PYTHONNOUSERSITE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
    logged "creating .venv" "$python" -m venv --system-site-packages .venv ||
        die "cannot create .venv: $(reason); log: $log"
    # --ignore-installed: what the distribution happens to have never replaces a locked version.
    logged "pip install" .venv/bin/python -m pip install --retries 3 --ignore-installed --no-deps \
        --require-hashes -r requirements-dev.txt ||
        die "pip cannot install the Python packages (network?): $(reason); log: $log"
    logged "pip install vmlat" .venv/bin/python -m pip install --no-deps --no-build-isolation \
        --editable . || die "cannot install vmlat into .venv: $(reason); log: $log"
    key >"$stamp.new" && mv "$stamp.new" "$stamp" || die "cannot write $stamp (disk full?)"
}

command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
    die "this is no Debian: install what tools/setup.sh lists under 'packages' by hand"

needed=$(missing_packages)
if [ -z "$needed" ]; then
    fault=$(environment_fault)
    if [ -z "$fault" ]; then
        say "complete, nothing to install"
        exit 0
    fi
fi

mkdir -p "$state" 2>/dev/null && : 2>/dev/null >>"$state/setup.lock" ||
    die "cannot write to $root/$state (permission, or disk full?)"
exec 9>>"$state/setup.lock"
if ! flock -n 9; then
    say "another set-up is running here; waiting for it"
    flock -w 1200 9 || die "another set-up has been running for 20 minutes; giving up"
fi
: >"$log"

needed=$(missing_packages)
if [ -n "$needed" ]; then
    install_packages "${needed% }"
    needed=$(missing_packages)
    [ -z "$needed" ] || die "still missing after the installation: $needed; log: $log"
fi

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' ||
    die "$python is older than 3.9; Debian 11 is the oldest release that works"

fault=$(environment_fault)
if [ -n "$fault" ]; then
    say "building the virtual environment .venv ($fault)"
    build_environment
    fault=$(environment_fault)
    [ -z "$fault" ] || die "the new .venv is not right: $fault"
fi
say "done"
