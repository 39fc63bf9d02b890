#!/bin/sh
# image.sh BUILD: builds the images lines, lines-redis, lines-sandbox and
# lines-prometheus of Dockerfile, and lays them out in BUILD/image for the tests:
#
#   NAME/root          the file system
#   NAME/config.json   user, command, healthcheck and so on, as Docker has them
#
# With Docker, where it is there.  Else with buildah, from a base image that
# debootstrap makes, for which no registry is asked.  LINES_BASE=bookworm for
# another release than trixie.

set -eu

with_what() {
    if command -v docker > /dev/null && docker info > /dev/null 2>&1; then
        echo docker
    elif [ "$(id -u)" = 0 ]; then
        echo buildah
    else
        echo 'There is no Docker here that can be used, and only root can do without.' >&2
        exit 1
    fi
}

tool=${LINES_IMAGE_TOOL:-$(with_what)}

# what buildah mounts goes with the namespace that it is mounted in
if [ "$tool" = buildah ] && [ -z "${LINES_IMAGE_TOOL-}" ]; then
    sh conf/packages.sh image
    LINES_IMAGE_TOOL=buildah exec unshare --mount sh "$0" "$@"
fi

build=$(mkdir -p "${1:?usage: image.sh BUILD}" && cd "$1" && pwd)
release=${LINES_BASE:-trixie}
base=docker.io/library/debian:$release-slim
out=$build/image
[ "$release" = trixie ] || out=$out-$release
targets='lines redis sandbox prometheus'

name_of() {
    [ "$1" = lines ] && echo lines || echo "lines-$1"
}

mkdir -p "$out"
exec 9> "$out/.lock"
flock 9

# what the images are made of
inputs=$({ echo "$base"; cat .dockerignore
           find Makefile config src conf docker t/sandbox $(ls build/docs/api.html 2> /dev/null) -type f -print0 | sort -z \
               | xargs -0 cksum; } | cksum)

if [ "$(cat "$out/.inputs" 2> /dev/null)" = "$inputs" ]; then
    echo "the images are built: $out"
    exit 0
fi

rm -f "$out/.inputs"


with_docker() {
    for target in $targets; do
        name=$(name_of "$target")
        docker build --build-arg BASE="$base" --target "$target" -t "$name" -f docker/Dockerfile .

        fresh "$name"
        docker image inspect --format '{{json .Config}}' "$name" > "$out/$name/config.json"
        container=$(docker create "$name")
        docker export "$container" | tar -C "$out/$name/root" --numeric-owner -xf -
        docker rm "$container" > /dev/null
    done
}


with_buildah() {
    storage=$build/storage
    mkdir -p "$storage"

    # what an interrupted build has left
    image rm --all > /dev/null 2>&1 || true

    # overlay, unless the file system cannot
    driver=overlay
    image --storage-driver overlay info > /dev/null 2>&1 || driver=vfs

    tar=$(sh docker/root.sh tar "$release" "$build/roots")
    stamp="$(cksum < "$tar")"

    if [ "$(cat "$storage/$release.base" 2> /dev/null)" != "$stamp" ] \
        || ! image inspect --type image "$base" > /dev/null 2>&1
    then
        rm -rf "$build/roots/base"
        sh docker/root.sh new "$release" "$build/roots" "$build/roots/base"
        container=$(image from scratch)
        image add -q "$container" "$build/roots/base" / > /dev/null
        image commit -q --rm --format docker "$container" "$base" > /dev/null
        sh docker/root.sh remove "$build/roots/base"
        echo "$stamp" > "$storage/$release.base"
    fi

    for target in $targets; do
        name=$(name_of "$target")
        echo "$name:"
        image bud --isolation chroot --pull-never --format docker --layers \
            --build-arg BASE="$base" --target "$target" -t "$name" -f docker/Dockerfile . \
            9>&- > "$out/$name.log" 2>&1 || { tail -n 40 "$out/$name.log"; exit 1; }

        fresh "$name"
        image inspect --type image "$name" | perl -MJSON::PP -0 -ne \
            'print encode_json(decode_json($_)->{Docker}{config})' > "$out/$name/config.json"
        container=$(image from --pull-never "$name")
        cp -a "$(image mount "$container")/." "$out/$name/root/"
        image rm "$container" > /dev/null
    done
}

image() {
    buildah --root "$storage" --runroot "$storage/run" --storage-driver "${driver:-overlay}" "$@"
}

fresh() {
    rm -rf --one-file-system "${out:?}/$1"
    mkdir -p "$out/$1/root"
}


with_$tool

echo "$inputs" > "$out/.inputs"

for target in $targets; do
    name=$(name_of "$target")
    echo "$name: $(du -sm "$out/$name/root" | cut -f 1) MB"
done
