#!/usr/bin/env bash
# Installs what this machine lacks. Looks first: on a complete machine it does nothing.
#   scripts/setup.sh       what building, testing and measuring need
#   scripts/setup.sh run   what building and the example agents need
set -euo pipefail
cd "$(dirname "$0")/.."

packages=()
need() { command -v "$1" >/dev/null || packages+=("${@:2}"); }
command -v cargo >/dev/null || { echo "setup: Rust is missing; install it from https://rustup.rs" >&2; exit 1; }
need cc gcc libc6-dev # SQLite is compiled from source
need python3 python3  # agent files
need node nodejs      # the web console is built with it; an example of a command agent runs on it
need npm npm          # the packages of the web console
if [ "${1:-}" != run ]; then
  need git git
  need promtool prometheus # the story of the metrics; it starts no server of its own
  need faketime faketime # the story of a clock that jumps
  need chromium chromium       # stories of the web console
  need firefox-esr firefox-esr # the same in another browser
  fc-list :lang=zh 2>/dev/null | grep -q . || packages+=(fontconfig fonts-wqy-microhei) # its pictures in Chinese
  python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv) # packages for tests, below
  llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
  need "llvm-cov-$llvm" "llvm-$llvm" # coverage; the version must be that of rustc
fi

if [ "${#packages[@]}" -gt 0 ]; then
  sudo=
  [ "$(id -u)" -eq 0 ] || sudo=sudo
  echo "setup: installing ${packages[*]}"
  export DEBIAN_FRONTEND=noninteractive
  $sudo apt-get update -qq
  $sudo apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi
if [ "${1:-}" != run ] && ! command -v cargo-nextest >/dev/null; then
  echo "setup: installing cargo-nextest"
  cargo install cargo-nextest --locked
fi
# The Python packages that tests and the bench use, in a place of their own; it is made anew when the list changes.
python=${CARGO_TARGET_DIR:-target}/python
if [ "${1:-}" != run ] && ! cmp -s scripts/requirements.txt "$python/complete.txt"; then
  echo "setup: installing Python packages in $python"
  python3 -m venv --clear "$python"
  "$python/bin/python" -m pip --quiet --disable-pip-version-check install \
    --require-hashes --only-binary :all: --requirement scripts/requirements.txt
  cp scripts/requirements.txt "$python/complete.txt" # the last step: without it all of this is done again
fi
# What builds the web console, and what compiles and tests the TypeScript client; likewise.
npm_packages() {
  cmp -s "$1/package-lock.json" "$1/node_modules/.complete.json" && return
  echo "setup: installing the packages of $1"
  npm --prefix "$1" ci --silent --no-audit --no-fund
  cp "$1/package-lock.json" "$1/node_modules/.complete.json"
}
npm_packages console
[ "${1:-}" = run ] || npm_packages examples/client/typescript
[ "${1:-}" = run ] || echo "setup: complete"
