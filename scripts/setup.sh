#!/bin/sh
# Finds out what this checkout lacks and installs it; says nothing when nothing is missing.
#
#   scripts/setup.sh run     what the daemon needs: Python, .venv with the runtime lock, the DTLS engine (a C
#                            compiler and mbedTLS 3.6 for it), uPlot
#   scripts/setup.sh test    that, the test and check tools, and Chromium for the browser tests
#   scripts/setup.sh bench   what the daemon needs, and the peers it is measured against
#   scripts/setup.sh ci      test, and what else CI calls: make, and Java and Maven for Leshan's client
#
# Needs apt with root or sudo, and those only while a Debian package is missing. What is done is noted in
# stamp files under .venv and .setup, each holding the hash of the files it was done from.
# FLOWNEXUS_MBEDTLS_PREFIX names a folder with include/ and lib/ of another mbedTLS 3.6; empty: the compiler's.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cd "$root"

venv=.venv
state=.setup
vendor=flownexus_appliance/http/static/vendor/uplot
dtls=flownexus_appliance/coap/dtls
project_files="setup.cfg setup.py pyproject.toml flownexus_appliance/__init__.py
    $dtls/build_engine.py $dtls/native/*.c $dtls/native/*.h"
mbedtls=${FLOWNEXUS_MBEDTLS_PREFIX-$root/$state/mbedtls}

say() {
    printf 'setup: %s\n' "$*"
}

# die MESSAGE HINT
die() {
    printf 'setup: error: %s\nsetup: hint: %s\n' "$1" "$2" >&2
    exit 1
}

# fingerprint FILE...: their contents and this folder's name, since a venv cannot be moved.
fingerprint() {
    { printf '%s\n' "$root"; cat -- "$@"; } | sha256sum | cut -d ' ' -f 1
}

# stamped STAMP FILE...: was the step of STAMP done from FILE... as they are now?
stamped() {
    stamp=$1
    shift
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(fingerprint "$@")" ]
}

# --- Debian packages ---------------------------------------------------------------------------------------

# as_root COMMAND...: run it as root, by sudo when need be.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# Turns apt's status lines (kind:package:percent:text) into a line every 20 percent.
apt_progress() {
    awk -F : '
        $1 == "dlstatus" || $1 == "pmstatus" {
            step = int($3 / 20) * 20
            if ($1 == kind && step <= shown) next
            if ($1 == kind || step > 0) printf "setup:   %s %d %%\n", $1 == "dlstatus" ? "downloaded" : "installed", step
            kind = $1; shown = step; fflush()
        }'
}

# apt_get WORD...: apt-get with its progress shown and its chatter in a log; false when it fails.
apt_get() {
    : >"$state/apt.failed"
    # apt reports progress on descriptor 3; it is opened inside because sudo closes what it does not know.
    # shellcheck disable=SC2016
    as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 sh -c \
        'exec apt-get -y -o APT::Status-Fd=3 -o DPkg::Lock::Timeout=120 "$@" 3>&1 1>&2' apt-get "$@" \
        </dev/null 2>>"$state/apt.log" && rm -f "$state/apt.failed"
}

apt_failed() {
    [ -e "$state/apt.failed" ]
}

# apt_knows PACKAGE...: has apt a version of each to install?
apt_knows() {
    for package in "$@"; do
        LC_ALL=C apt-cache policy "$package" 2>/dev/null | grep -q '^  Candidate: [^(]' || return 1
    done
}

apt_update() {
    say "apt-get update (about 10 s)"
    apt_get update | apt_progress
    ! apt_failed
}

# apt_by_hand PACKAGE...: the hint for when we cannot do it.
apt_by_hand() {
    printf '%s' "run as root: apt-get update && apt-get install --no-install-recommends $*"
}

# apt_prepare PACKAGE...: lists that name every PACKAGE and, on a bare machine, tell which mbedTLS there is.
apt_prepare() {
    by_hand=$(apt_by_hand "$@")
    command -v apt-get >/dev/null || die "missing here: $*; and there is no apt to install it" \
        "use Debian 12 or 13, or install what provides it by hand"
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        die "missing Debian packages: $*; and this user is not root and has no sudo" "$by_hand"
    fi
    fresh=no
    if ! apt_knows "$@" libmbedtls-dev; then
        apt_update || apt_give_up "apt-get update failed" "$by_hand"
        fresh=yes
    fi
}

# apt_install PACKAGE...: after apt_prepare.
apt_install() {
    by_hand=$(apt_by_hand "$@")
    case " $* " in
        # npm comes in some 400 small packages, Chromium is large.
        *" npm "* | *" chromium "*) say "apt-get install $* (about 2 min)" ;;
        *) say "apt-get install $* (about 30 s)" ;;
    esac
    apt_get install --no-install-recommends "$@" | apt_progress
    if apt_failed && [ $fresh = no ]; then
        # Lists of another day name package versions the mirror no longer has.
        apt_update && say "apt-get install $*, again with fresh lists" &&
            apt_get install --no-install-recommends "$@" | apt_progress
    fi
    if apt_failed; then
        apt_give_up "apt could not install: $*" "$by_hand"
    fi
}

# apt_give_up MESSAGE HINT
apt_give_up() {
    tail -n 15 "$state/apt.log" >&2
    die "$1 (its words above, all of them in $state/apt.log)" "$2"
}

# --- Python ------------------------------------------------------------------------------------------------

# python_fits PYTHON: can it make our venv? Debian's has no ensurepip until python3-venv is installed, and a
# version manager's shim may stand for nothing. The locks are made for 3.11 to 3.13.
python_fits() {
    "$1" -c 'import sys, ensurepip, sqlite3, ssl, venv
sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

# find_python: sets python to one that fits.
find_python() {
    for python in python3 python3.13 python3.12 python3.11 /usr/bin/python3; do
        if python_fits "$python"; then
            return 0
        fi
    done
    return 1
}

make_venv() {
    find_python || die "no Python from 3.11 to 3.13 here: $(/usr/bin/python3 --version 2>&1)" \
        "use Debian 12 or 13, or put a python3 of such a version, with its venv module, first in PATH"
    say "making $venv with $("$python" --version 2>&1) (about 5 s)"
    "$python" -m venv --clear "$venv" || die "$python could not make $venv" "see its words above"
    printf '%s\n' "$root" >"$venv/made-for"
}

# venv_usable: it is there, was made for this folder, and its Python was not replaced by a newer one.
venv_usable() {
    [ -f "$venv/made-for" ] && [ "$(cat "$venv/made-for")" = "$root" ] &&
        "$venv/bin/python" -c 'import pip' >/dev/null 2>&1
}

pip_install() {
    "$venv/bin/python" -m pip --disable-pip-version-check install --no-input "$@" ||
        die "pip could not install into $venv" "see its words above; to start afresh: rm -r $venv"
}

# install_lock NAME ABOUT: one of requirements/*.txt, with the build back end of the project itself.
install_lock() {
    stamped "$venv/$1.stamp" requirements/build.txt "requirements/$1.txt" && return
    say "pip install requirements/$1.txt ($2)"
    pip_install --require-hashes --only-binary :all: \
        --requirement requirements/build.txt --requirement "requirements/$1.txt"
    fingerprint requirements/build.txt "requirements/$1.txt" >"$venv/$1.stamp"
}

# engine_loads: is the DTLS engine there, and the mbedTLS it was linked with?
engine_loads() {
    "$venv/bin/python" -c 'import flownexus_appliance.coap.dtls._engine'
}

project_installed() {
    # shellcheck disable=SC2086
    stamped "$venv/project.stamp" $project_files && engine_loads 2>/dev/null
}

install_project() {
    project_installed && return
    build_facts "$venv/bin/python"
    [ -f "$headers/Python.h" ] || die "no Python.h in $headers, so nothing in C can be built for this Python" \
        "install that Python's headers, or put Debian's python3 first in PATH and: rm -r $venv"
    say "pip install --editable ., with the DTLS engine in C (about 10 s)"
    pip_install --quiet --no-deps --no-build-isolation --editable .
    engine_loads || die "the DTLS engine does not load" "see Python's words above; to start afresh: rm -r $venv"
    # shellcheck disable=SC2086
    fingerprint $project_files >"$venv/project.stamp"
}

# --- mbedTLS -----------------------------------------------------------------------------------------------

# build_facts PYTHON: sets compiler and headers to what this Python builds extensions with.
build_facts() {
    compiler=$("$1" -c 'import os, sysconfig
print(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")')
    headers=$("$1" -c 'import sysconfig; print(sysconfig.get_path("include"))')
}

# compiles: can the compiler make something of the C on standard input? After build_facts.
compiles() {
    # shellcheck disable=SC2086
    $compiler ${mbedtls:+"-I$mbedtls/include"} -fsyntax-only -x c - >/dev/null 2>&1
}

# mbedtls_fits: is there an mbedTLS 3.6 to compile with, in our folder or in the system? After build_facts.
mbedtls_fits() {
    printf '%s\n' '#include <mbedtls/build_info.h>' '#include <mbedtls/ssl.h>' \
        '#if MBEDTLS_VERSION_NUMBER < 0x03060000 || MBEDTLS_VERSION_NUMBER >= 0x04000000' '#error' '#endif' |
        compiles
}

# apt_has_mbedtls: is the version that apt would install one that fits? Debian 13's is.
apt_has_mbedtls() {
    version=$(LC_ALL=C apt-cache policy libmbedtls-dev 2>/dev/null | sed -n 's/^  Candidate: \([0-9]\)/\1/p')
    [ -n "$version" ] && dpkg --compare-versions "$version" ge 3.6 && dpkg --compare-versions "$version" lt 4
}

# build_packages PYTHON: the Debian packages without which this Python cannot build the DTLS engine.
build_packages() {
    build_facts "$1"
    echo '#include <stdio.h>' | compiles || echo gcc libc6-dev
    # Other Pythons than Debian's bring their headers, or install_project says that they did not.
    case $headers in
        /usr/include/*) [ -f "$headers/Python.h" ] || echo "lib${headers##*/}-dev" ;;
    esac
    mbedtls_package
}

# mbedtls_package: what apt has to bring; nothing when one that fits is there or unpack_mbedtls can bring it.
mbedtls_package() {
    if mbedtls_fits; then
        return
    elif apt_has_mbedtls; then
        echo libmbedtls-dev
    else
        # From Debian 12.11 on it holds Debian 13's keys.
        ls /usr/share/keyrings/debian-archive-trixie-stable.* >/dev/null 2>&1 || echo debian-archive-keyring
    fi
}

# trixie_sources: Debian 13 as apt sources, from the mirrors that this machine has its own Debian from. What apt
# would fetch tells them, in whatever way they are written down and before anything was fetched.
trixie_sources() {
    # shellcheck disable=SC1091
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
    apt-get --print-uris update 2>/dev/null | sed -n "s|^'\(.*\)/dists/\([^/]*\)/InRelease'.*|\1 \2|p" |
        awk -v own="$codename" -v arch="$(dpkg --print-architecture)" -v keys="$keyring" '
            {
                pocket = sub(/-security$/, "", $2) ? "-security" : ""
            }
            ($2 == own || $2 ~ /^((old)*stable|testing|unstable|sid)$/) && !seen[$1 pocket]++ {
                printf "deb [arch=%s lang=none target=Packages signed-by=%s] %s trixie%s main\n",
                    arch, keys, $1, pocket
            }'
}

# trixie_apt WORD...: apt-get with those sources, in a folder of its own, so that it needs no root. Only what
# Debian's own keys vouch for is taken, whatever the machine's apt accepts. What it leaves tells if it worked.
trixie_apt() {
    apt-get -o APT::Status-Fd=3 -o Dir::State="$work/state" -o Dir::Cache="$work/cache" \
        -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null -o APT::Default-Release= \
        -o APT::Get::AllowUnauthenticated=false -o Acquire::AllowInsecureRepositories=false "$@" \
        3>&1 >>"$root/$state/apt.log" 2>&1 </dev/null | apt_progress
}

# unpack_mbedtls: Debian 13's mbedTLS into our folder; nothing is installed. Debian 12's knows no connection IDs
# (RFC 9146).
unpack_mbedtls() {
    by_hand="name a folder with mbedTLS 3.6's include/ and lib/ in FLOWNEXUS_MBEDTLS_PREFIX"
    work=$root/$state/apt
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    rm -rf "$work"
    mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/debs" "$work/unpacked"
    trixie_sources >"$work/sources.list"
    [ -s "$work/sources.list" ] || die "no mbedTLS 3.6 here, and apt names no Debian mirror that would have it" \
        "use Debian 12 or 13 with its own sources in apt, or $by_hand"
    say "fetching mbedTLS 3.6 of Debian 13 into $state/mbedtls (12 MB, about 10 s)"
    trixie_apt update
    (cd "$work/debs" && trixie_apt download libmbedtls21 libmbedcrypto16 libmbedx509-7 libmbedtls-dev)
    for package in "$work"/debs/*.deb; do
        [ ! -f "$package" ] || dpkg-deb -x "$package" "$work/unpacked"
    done
    set -- "$work"/debs/*.deb
    if [ $# -ne 4 ] || [ ! -f "$work/unpacked/usr/include/mbedtls/build_info.h" ]; then
        apt_give_up "apt could not fetch mbedTLS 3.6 of Debian 13" \
            "is the mirror reachable, has it Debian 13, is debian-archive-keyring up to date? If not: $by_hand"
    fi
    rm -rf "$state/mbedtls"
    mv "$work/unpacked/usr" "$state/mbedtls"
    rm -rf "$work"
    # What was compiled before saw the headers of another.
    rm -f "$venv/project.stamp"
}

install_mbedtls() {
    project_installed && return
    build_facts "$venv/bin/python"
    mbedtls_fits && return
    [ -z "${FLOWNEXUS_MBEDTLS_PREFIX+set}" ] || die "no mbedTLS 3.6 in FLOWNEXUS_MBEDTLS_PREFIX='$mbedtls'" \
        "unset it to have setup find one, or name the folder that holds its include/ and lib/"
    unpack_mbedtls
}

# --- uPlot, axe-core --------------------------------------------------------------------------------------

uplot_installed() {
    [ -f "$vendor/uPlot.esm.js" ] && [ -f "$vendor/uPlot.min.css" ] && [ -f "$vendor/LICENSE" ] &&
        [ -f node_modules/axe-core/axe.min.js ] && stamped "$state/uplot.stamp" package.json package-lock.json
}

install_uplot() {
    uplot_installed && return
    say "npm ci: uPlot, and axe-core for the tests (about 5 s)"
    npm ci --ignore-scripts || die "npm could not install uPlot and axe-core" "see its words above"
    mkdir -p "$vendor"
    cp node_modules/uplot/dist/uPlot.esm.js node_modules/uplot/dist/uPlot.min.css node_modules/uplot/LICENSE "$vendor/"
    fingerprint package.json package-lock.json >"$state/uplot.stamp"
}

# --- Putting it together -----------------------------------------------------------------------------------

# all_there LOCK: asked before anything is locked or written, so that it needs no right to write.
all_there() {
    # shellcheck disable=SC2086
    venv_usable && stamped "$venv/$1.stamp" requirements/build.txt "requirements/$1.txt" &&
        project_installed && uplot_installed
}

# missing_packages GOAL: the Debian packages of what is still to be done and cannot be done without.
missing_packages() {
    if venv_usable; then
        project_installed || build_packages "$venv/bin/python"
    elif find_python; then
        build_packages "$python"
    else
        compiler=cc
        echo python3 python3-venv libpython3-dev gcc libc6-dev
        mbedtls_package
    fi
    uplot_installed || npm --version >/dev/null 2>&1 || echo npm ca-certificates
    case $1 in
        # The browser tests drive it; its sandbox and dbus service are not needed for that.
        test | ci) command -v chromium >/dev/null || echo chromium
            # An independent judge of the certificates that the box makes.
            command -v openssl >/dev/null || echo openssl ;;
    esac
    if [ "$1" = ci ]; then
        command -v make >/dev/null || echo make
        command -v javac >/dev/null || echo default-jdk-headless
        command -v mvn >/dev/null || echo maven
    fi
}

# install_all GOAL LOCK ABOUT
install_all() {
    : >"$state/apt.log"
    packages=$(missing_packages "$1")
    if [ -n "$packages" ]; then
        # shellcheck disable=SC2086
        apt_prepare $packages
        packages=$(missing_packages "$1")
        # shellcheck disable=SC2086
        apt_install $packages
    fi
    venv_usable || make_venv
    install_mbedtls
    install_lock "$2" "$3"
    install_project
    install_uplot
    say "all there"
}

main() {
    case ${1-} in
        run) lock=runtime about="about 20 s" ;;
        test | ci) lock=dev about="about 40 s" ;;
        bench) lock=bench about="about 30 s" ;;
        *) die "usage: scripts/setup.sh run|test|bench|ci" "./run and ./test call it themselves" ;;
    esac
    # The test lock holds the runtime lock, so whoever has tested need install nothing to run.
    if [ $lock = runtime ] && [ -f "$venv/dev.stamp" ]; then
        lock=dev about="about 40 s"
    fi
    if all_there $lock && [ -z "$(missing_packages "$1")" ]; then
        return
    fi
    mkdir -p "$state" || die "cannot write in $root" "run it as the owner of the checkout"
    # One at a time: ./run and ./test may be started side by side.
    (
        flock 9
        install_all "$1" $lock "$about"
    ) 9>"$state/lock"
}

main "$@"
