#!/bin/sh
# root.sh: bare Debian roots, to see in them that a checkout is all it takes.
#
#   root.sh new RELEASE CACHE DIR        what debootstrap calls minbase, no more;
#                                        the second time from CACHE
#   root.sh in DIR COMMAND...            runs COMMAND in it, as root; DIR.mounts
#                                        has lines FROM:TO
#   root.sh tar RELEASE CACHE            makes CACHE/RELEASE.tar, and prints this
#   root.sh remove DIR
#
# A root sees this machine's network and its apt's mirror and proxy, nothing
# else of it.  It runs in a mount and a pid namespace of its own: with COMMAND,
# or when it is killed, all that it started and mounted is gone.

set -eu

die() {
    echo "root.sh: $*" >&2
    exit 1
}

# the mirrors that this machine's own apt uses, else debootstrap's default

mirrors() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2> /dev/null \
        | sed 's,/*$,,' | grep "$1" | head -n 1
}

make_tar() {
    release=$1 cache=$2

    if [ ! -s "$cache/$release.tar" ]; then
        command -v debootstrap > /dev/null || die 'debootstrap is missing'

        mkdir -p "$cache"
        new=$cache/$release.new
        rm -rf "$new"

        echo "debootstrap $release, once: $cache/$release.tar" >&2
        debootstrap --variant=minbase "$release" "$new" $(mirrors '/debian$') \
            > "$cache/$release.log" 2>&1 || { tail "$cache/$release.log" >&2; exit 1; }

        rm -f "$new"/var/cache/apt/archives/*.deb "$new"/var/lib/apt/lists/*_*
        : > "$new/etc/resolv.conf"

        security=$(mirrors '/debian-security$')
        [ -z "$security" ] || echo "deb $security $release-security main" \
            >> "$new/etc/apt/sources.list"

        tar -C "$new" --numeric-owner --xattrs -cf "$cache/$release.tar.new" .
        mv "$cache/$release.tar.new" "$cache/$release.tar"
        rm -rf "$new"
    fi

    echo "$cache/$release.tar"
}

new() {
    release=$1 cache=$2 dir=$3

    tar=$(make_tar "$release" "$cache")
    remove "$dir"
    mkdir -p "$dir"
    tar -C "$dir" --numeric-owner --xattrs -xf "$tar"

    apt-config dump --format '%f "%v";%n' \
        | grep -E '^Acquire::(https?::|Retries|Check-Date|Check-Valid-Until)' \
        > "$dir/etc/apt/apt.conf.d/80network" || true

    # nothing of a root outlives it: what is unpacked need not be on the disk at once
    echo force-unsafe-io > "$dir/etc/dpkg/dpkg.cfg.d/unsafe-io"

    # certificates that this machine's network needs
    if [ -d /usr/local/share/ca-certificates ]; then
        mkdir -p "$dir/usr/local/share"
        cp -R /usr/local/share/ca-certificates "$dir/usr/local/share/"
    fi

    # packages that were loaded once
    mkdir -p "$cache/apt-$release/partial"
    echo "$(cd "$cache/apt-$release" && pwd):/var/cache/apt/archives" > "$dir.mounts"
}

remove() {
    # nothing is mounted there outside of the namespaces, which ended
    rm -rf --one-file-system "$1" "$1.mounts"
}

in_root() {
    dir=$1
    shift

    [ "$(id -u)" = 0 ] || die 'only root can'
    dir=$(cd "$dir" && pwd)

    # unshare itself hears of no signal but the last; its child dies with it
    unshare --mount --pid --fork --kill-child -- sh "$0" inside "$dir" "$@" < /dev/null &
    child=$!
    trap 'kill -KILL $child' INT TERM HUP
    wait $child
}

# the namespaces' first process: mounts, then waits for the command

inside() {
    dir=$1
    shift

    cp /etc/resolv.conf /etc/hosts "$dir/etc/"
    mount -t proc proc "$dir/proc"
    mount --rbind /dev "$dir/dev"

    while IFS=: read -r from to; do
        mkdir -p "$dir/$to"
        mount --bind "$from" "$dir/$to"
    done < "$dir.mounts"

    for name in CI http_proxy https_proxy no_proxy NODE_EXTRA_CA_CERTS; do
        eval "value=\${$name-}"
        [ -z "$value" ] || set -- "$name=$value" "$@"
    done

    # not exec: a first process has to wait for those that lost their parent
    chroot "$dir" /usr/bin/env -i HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@" &
    wait $!
}

what=${1-}
[ $# -lt 2 ] || shift

case $what in
new)    new "$@" ;;
tar)    make_tar "$@" ;;
in)     in_root "$@" ;;
inside) inside "$@" ;;
remove) remove "$1" ;;
*)      sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
