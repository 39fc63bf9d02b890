#!/bin/sh
# deb.sh BUILD [VERSION]: Debian's package of the module, for the nginx that is
# installed, made of docker/debian in BUILD/deb.  Its version is that of
# src/observe/observe.h, with the release that it is for, since nginx' ABI is
# that of the release.  VERSION: as another one, to see upgrades.

set -eu

[ $# -ge 1 ] || { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 2; }

build=$(mkdir -p "$1" && cd "$1" && pwd)
deb=$build/deb
tree=$deb/lines

there=$(sed -n 's/^#define LINES_VERSION  "\(.*\)"$/\1/p' src/observe/observe.h)
logged=$(sed -n '1s/.*(\(.*\)).*/\1/p' docker/debian/changelog)
version=${2-$there}
release=$(. /etc/os-release && echo "$ID${VERSION_ID-}" | sed 's/^debian/deb/')

[ "$there" = "$logged" ] || {
    echo "src/observe/observe.h has $there, docker/debian/changelog $logged" >&2
    exit 1
}

rm -rf "$tree"
mkdir -p "$tree"
cp -R config src conf README.md "$tree/"
cp -R docker/debian "$tree/debian"

sed -i "s/^\(#define LINES_VERSION  \).*/\1\"$version\"/" "$tree/src/observe/observe.h"
sed -i "1s/(.*)/($version+$release)/" "$tree/debian/changelog"

# -d: the build dependencies are those of "packages.sh build deb", which lacks
# the C++ compiler of build-essential
log=$deb/build.log
(cd "$tree" && env -u MAKEFLAGS -u MFLAGS -u MAKEOVERRIDES -u MAKELEVEL \
    dpkg-buildpackage -b -d -us -uc -ui) > "$log" 2>&1 < /dev/null \
    || { tail -n 40 "$log" >&2; exit 1; }

rm -rf "$tree"
echo "$deb/libnginx-mod-http-lines_$version+${release}_$(dpkg --print-architecture).deb"
