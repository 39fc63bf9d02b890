#!/bin/sh
# packages.sh GROUP...: installs with apt what is missing of Debian's packages
# for building (build), for the demo (run), for the tests (test), for a package
# (deb), for what the bench compares with (bench), for roots of other releases
# (roots), for running what is of arm64 (arm64) and for images where there is no
# Docker (image).  Says what it does; where it may not, prints the command and
# ends with 1.

set -eu

build="gcc libc6-dev make nginx nginx-dev libhiredis-dev libjansson-dev libssl-dev"
run="redis-server libmojolicious-perl libio-socket-ssl-perl openssl ca-certificates curl libjs-chart.js"
tests="ccache clang libclang-rt-dev liblua5.1-0-dev valgrind libredis-perl libcrypt-jwt-perl nghttp2-client prometheus libyaml-pp-perl libnginx-mod-http-auth-pam libnginx-mod-http-lua original-awk busybox dpkg-dev lintian"
deb="dpkg-dev debhelper"
bench="lua-resty-core lua-resty-lrucache lua-nginx-redis lua-nginx-string"
roots="debootstrap git iproute2"
arm64="qemu-user-static binfmt-support"
image="buildah debootstrap iproute2"

# Not on a system of another kind: configure names what is missing there.
command -v dpkg-query > /dev/null || exit 0

wanted=
tests_too=
for group in "$@"; do
    case $group in
    build) wanted="$wanted $build" ;;
    run)   wanted="$wanted $run" ;;
    test)  wanted="$wanted $tests"; tests_too=yes ;;
    deb)   wanted="$wanted $deb" ;;
    bench) wanted="$wanted $bench" ;;
    roots) wanted="$wanted $roots" ;;
    arm64) wanted="$wanted $arm64" ;;
    image) wanted="$wanted $image" ;;
    *)     echo "packages.sh: no group \"$group\"" >&2; exit 2 ;;
    esac
done

installed() {
    dpkg-query -W -f '${db:Status-Status}\n' "$1" 2> /dev/null | grep -qx installed
}

missing=
for package in $wanted; do
    installed "$package" || missing="$missing $package"
done

# a browser of any name will do; so will a node and an npm from elsewhere
if [ -n "$tests_too" ]; then
    for browser in chromium-headless-shell chromium; do
        if installed $browser; then browser=; break; fi
    done
    [ -z "$browser" ] || missing="$missing chromium-headless-shell"
fi

# The official SDKs, which judge the module, need node 20.  Where Debian's own
# is older, nothing of it is installed, and the tests that need it are skipped.
add_node() {
    command -v node > /dev/null && command -v npm > /dev/null && return 0

    if offers nodejs 20; then
        missing="$missing nodejs npm"
    elif [ "${1-}" = say ]; then
        echo "No node 20 here: the tests that need it will be skipped."
    fi
}

# Compose itself reads our file in a test; version 1 cannot.
add_compose() {
    docker compose version > /dev/null 2>&1 && return 0
    installed docker-compose && return 0

    if offers docker-compose 2; then
        missing="$missing docker-compose"
    elif [ "${1-}" = say ]; then
        echo "No Compose 2 here: the test that needs it will be skipped."
    fi
}

# What else nginx may have loaded beside the module: all that the release has.
# Where nginx is not the release's own, they do not fit.
add_modules() {
    modules=
    for package in $(apt-cache search --names-only '^libnginx-mod-' | sed 's/ .*//' | grep -v -e -dev$); do
        installed "$package" || modules="$modules $package"
    done
    [ -n "$modules" ] || return 0

    if apt-get install -s -qq --no-install-recommends $missing $modules > /dev/null 2>&1; then
        missing="$missing$modules"
    elif [ "${1-}" = say ]; then
        echo "Other modules do not fit this nginx: the tests that need them will be skipped."
    fi
}

offers() {
    candidate=$(apt-cache policy "$1" | sed -n 's/^ *Candidate: \([0-9]\)/\1/p')
    dpkg --compare-versions "${candidate:-0}" ge "$2"
}

add_for_tests() {
    [ -n "$tests_too" ] || return 0
    add_node "$@"
    add_compose "$@"
    add_modules "$@"
}

before=$missing
add_for_tests

missing=${missing# }
[ -n "$missing" ] || exit 0

command="apt-get install --no-install-recommends $missing"

if [ "$(id -u)" != 0 ]; then
    echo "Packages are missing, and only root can install them:" >&2
    echo "    sudo $command" >&2
    exit 1
fi

echo "Installing what is missing: $command"

# The demo starts an nginx and a Redis of its own: no service of these packages
# is started now.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' > $policy
    chmod 755 $policy
    made=yes
fi

fail() {
    [ -z "$made" ] || rm -f $policy
    echo "It did not work.  By hand:" >&2
    echo "    apt-get update && $command" >&2
    exit 1
}

export DEBIAN_FRONTEND=noninteractive

# the lists may be old, or not there at all
apt-get update -qq < /dev/null || fail
missing=$before
add_for_tests say
apt-get install -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends $missing \
    < /dev/null > /dev/null || fail

[ -z "$made" ] || rm -f $policy
