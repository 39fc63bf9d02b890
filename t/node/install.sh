#!/bin/sh

# Installs the judges that Lines did not write (the official SDKs, Prism) into BUILD_DIR/node, once for each package-lock.json;
# or, into BUILD_DIR/NAME, what another folder's lock file has.
# Ends with 0 when they are there, with 77 and a word where this machine has no Node.js that can run them.

set -eu

build=${1:?usage: install.sh BUILD_DIR [FOLDER NAME]}
here=$(CDPATH= cd -- "${2:-$(dirname -- "$0")}" && pwd)
name=${3:-node}

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    echo "node: skipped, node and npm are not installed" >&2
    exit 77
fi

major=$(node -p 'process.versions.node.split(".")[0]')

if [ "$major" -lt 20 ]; then
    echo "node: skipped, node $(node --version) is older than 20" >&2
    exit 77
fi

mkdir -p "$build/$name"

# Tests that start side by side install once.
exec 9>"$build/$name/.lock"
flock 9

if cmp -s "$here/package-lock.json" "$build/$name/.installed"; then
    exit 0
fi

rm -f "$build/$name/.installed"
cp "$here/package.json" "$here/package-lock.json" "$build/$name/"

cd "$build/$name"
echo "node: installing the packages of $here into $build/$name" >&2
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2
cp "$here/package-lock.json" .installed
