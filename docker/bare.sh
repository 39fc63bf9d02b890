#!/bin/sh
# bare.sh BUILD RELEASE STEP...: a checkout in a bare Debian root (root.sh), to
# which nothing is added but make and git, does what the README says.
#
#   demo     make up, the README's first requests as they stand there, make
#            down; make run, ended by an interrupt
#   package  make deb, and its life on another bare root: bare-package.sh
#   test     make test
#   sanitized  make test-sanitized
#   pairs    the other pairs of compiler and kind, each with a first test
#   valkey   the tests that show what a store does, with Valkey as the store, against
#            the sanitized build
#   arm64    the unit tests and the demo, built for arm64 by a cross compiler and
#            run by qemu's user mode, as the kernel hands it what is of arm64
#
# What is committed is tested.  A step that this root's release has passed with
# this commit is not run again where STEP ends in "?".

set -eu

[ $# -ge 3 ] || { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 2; }

build=$(mkdir -p "$1" && cd "$1" && pwd)
release=$2
shift 2

[ "$(id -u)" = 0 ] || { echo 'Only root can make a root file system.' >&2; exit 1; }
sh conf/packages.sh roots

roots=$build/roots
root=$roots/$release-$$
passed=$roots/$release.passed
commit=$(git rev-parse HEAD)

[ -z "$(git status --porcelain)" ] \
    || echo 'What is not committed is not tested here.' >&2

steps=
for step in "$@"; do
    case $step in
    *\?)
        step=${step%\?}
        if grep -qx "$step $commit" "$passed" 2> /dev/null; then
            echo "== $release, $step: passed with this commit already"
            continue
        fi
        ;;
    esac
    steps="$steps $step"
done

[ -n "$steps" ] || exit 0


in_root() {
    sh docker/root.sh in "$root" "$@"
}

# LINES_KEEP=1 leaves the root of a failure there, to look at
end() {
    code=$?
    trap - EXIT
    if [ $code != 0 ] && [ -n "${LINES_KEEP-}" ]; then
        echo "see: sh docker/root.sh in $root bash" >&2
    else
        sh docker/root.sh remove "$root"
        sh docker/root.sh remove "$root-host"
    fi
    exit $code
}

trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM


echo "== $release, a bare root"
sh docker/root.sh new "$release" "$roots" "$root"
in_root sh -c 'export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -qq -y --no-install-recommends make git > /dev/null'

# the README's "in a checkout": cloned there, from what is committed here
printf '[safe]\n\tdirectory = *\n' > "$root/root/.gitconfig"
GIT_CONFIG_GLOBAL=$root/root/.gitconfig git clone -q --bare . "$root/srv/lines.git"
in_root git clone -q /srv/lines.git /root/lines
[ "$(in_root git -C /root/lines rev-parse HEAD)" = "$commit" ]


# The README's commands are the lines that begin with "    $ ", and what a
# backslash continues.

readme() {
    awk '/^    \$ / { on = 1; sub(/^    \$ /, "") }
         on { print; if ($0 !~ /\\$/) on = 0 }' README.md
}

# loopback is this machine's own, and another root's at the same time: a port
# that nobody listens on, from a place of its own
free_port() {
    port=$((18080 + $$ % 1000 * 10))
    while bash -c ": < /dev/tcp/127.0.0.1/$port" 2> /dev/null; do
        port=$((port + 1))
    done
    echo $port
}

# demo NAME=VALUE...: with these in its environment
demo() {
    readme > "$root/root/readme.sh"
    grep -q 'make up' "$root/root/readme.sh"
    grep -q 'curl' "$root/root/readme.sh"

    cp docker/bare-demo.sh "$root/root/"
    in_root env LINES_PORT="$(free_port)" "$@" sh -eu /root/bare-demo.sh
}

# A host of the fleet: what an upgrade begins with is the same under a lower
# version, 0.0.0.  It serves in a network of its own, where all ports are free.

package() {
    host=$root-host
    in_root sh -euc 'cd /root/lines && make deb
        mkdir /root/debs && cd /root/debs
        cp /root/lines/build/deb/libnginx-mod-http-lines_*.deb now.deb
        dpkg-deb -R now.deb before

        version=$(sed -n "s/^Version: \(.*\)+.*/\1/p" before/DEBIAN/control)
        lower=$(echo "$version" | tr 1-9 0)
        sed -i "/^Version: /s/$version/$lower/" before/DEBIAN/control
        sed -i "s/\x00$version\x00/\x00$lower\x00/g" before/usr/lib/nginx/modules/*.so
        dpkg-deb -b before before.deb'

    sh docker/root.sh new "$release" "$roots" "$host"
    cp "$root"/root/debs/*.deb docker/bare-package.sh "$host/root/"

    sh docker/root.sh in "$host" sh -eu /root/bare-package.sh install
    unshare --net sh -c 'ip link set lo up && exec "$@"' sh \
        sh docker/root.sh in "$host" sh -eu /root/bare-package.sh serve

    sh docker/root.sh remove "$host"
}

run_tests() {
    in_root sh -c 'cd /root/lines && make test'
}

STORE='t/00-smoke.t t/13-redis-*.t t/34-op*.t t/40-inv*.t t/41-*.t t/42-confirm.t t/60-limit-scripts.t t/62-*.t
    t/64-redis-away.t t/76-redis-cut.t t/87-sim-redis.t t/88-money-restore.t'

sanitized() {
    in_root sh -c 'cd /root/lines && make test-sanitized'
}

pairs() {
    in_root sh -c 'cd /root/lines && make packages-test && make -j2 -O build-clang build-gcc-san &&
        make CC=clang smoke && make CC=gcc SAN=1 smoke'
}

valkey() {
    in_root sh -c 'export DEBIAN_FRONTEND=noninteractive
        apt-get install -qq -y --no-install-recommends valkey-server > /dev/null
        cd /root/lines && make packages-test && make -j2 -O build-clang-san build-clang-san-failpoints &&
        valkey-server --version &&
        LINES_REDIS_SERVER=valkey-server make CC=clang SAN=1 prove TESTS="$0"' "$STORE"
}

# All but the decision's, which tries everything: that takes an hour there.
UNITS='money base64url bearer jwk jwt stripe_signature stripe gcra ledger preview_token cluster_map'

# The nginx that Debian has for arm64 lies beside this one's: both own the same files.

arm64() {
    sh conf/packages.sh arm64
    [ -e /proc/sys/fs/binfmt_misc/register ] || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
    update-binfmts --enable qemu-aarch64

    in_root sh -euc 'export DEBIAN_FRONTEND=noninteractive
        dpkg --add-architecture arm64
        cd /root/lines && sh conf/packages.sh build run
        apt-get install -qq -y --no-install-recommends gcc-aarch64-linux-gnu libc6-dev:arm64 libcrypt-dev:arm64 \
            libhiredis-dev:arm64 libjansson-dev:arm64 libssl-dev:arm64 libpcre2-dev:arm64 zlib1g-dev:arm64 > /dev/null
        mkdir /root/arm64 && cd /root/arm64
        apt-get download -qq nginx:arm64 2> /dev/null && dpkg-deb -x nginx_*_arm64.deb .
        make -C /root/lines/t/unit BUILD=/root/lines/build CC=aarch64-linux-gnu-gcc TESTS="$0" check' "$UNITS"

    demo CC=aarch64-linux-gnu-gcc LINES_NGINX=/root/arm64/usr/sbin/nginx
}

for step in $steps; do
    echo "== $release, $step"
    case $step in
    demo)   demo ;;
    package) package ;;
    test)   run_tests ;;
    pairs)  pairs ;;
    sanitized) sanitized ;;
    valkey) valkey ;;
    arm64)  arm64 ;;
    *)      echo "bare.sh: no step \"$step\"" >&2; exit 2 ;;
    esac

    echo "$step $commit" >> "$passed"
done
