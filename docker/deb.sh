#!/bin/sh
# deb.sh BUILD: Debian's package of the module, for the nginx that is installed,
# made of docker/debian in BUILD/deb.  Its version is that of
# src/observe/observe.h, with the release that it is for, since nginx' ABI is
# that of the release.  The page of "make docs" is in it where BUILD has it.

set -eu

[ $# = 1 ] || { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 2; }

build=$(mkdir -p "$1" && cd "$1" && pwd)
deb=$build/deb
tree=$deb/lines

version=$(sed -n 's/^#define LINES_VERSION  "\(.*\)"$/\1/p' src/observe/observe.h)
logged=$(sed -n '1s/.*(\(.*\)).*/\1/p' docker/debian/changelog)
release=$(. /etc/os-release && echo "$ID${VERSION_ID-}" | sed 's/^debian/deb/')

[ "$version" = "$logged" ] || {
    echo "src/observe/observe.h has $version, docker/debian/changelog $logged" >&2
    exit 1
}

rm -rf "$tree"
mkdir -p "$tree"
cp -R config src conf README.md "$tree/"
cp -R docker/debian "$tree/debian"
[ ! -e "$build/docs/api.html" ] || cp "$build/docs/api.html" "$tree/"

sed -i "1s/(.*)/($version+$release)/" "$tree/debian/changelog"

# -d: the build dependencies are those of "packages.sh build deb", which lacks
# the C++ compiler of build-essential
log=$deb/build.log
(cd "$tree" && env -u MAKEFLAGS -u MFLAGS -u MAKEOVERRIDES -u MAKELEVEL \
    dpkg-buildpackage -b -d -us -uc -ui) > "$log" 2>&1 < /dev/null \
    || { tail -n 40 "$log" >&2; exit 1; }

rm -rf "$tree"
echo "$deb/libnginx-mod-http-lines_$version+${release}_$(dpkg --print-architecture).deb"
