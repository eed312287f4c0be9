#!/usr/bin/env bash
# Installs what building and testing needs and this machine lacks. Looks first: on a complete machine it does nothing.
set -euo pipefail

packages=()
need() { command -v "$1" >/dev/null || packages+=("${@:2}"); }
need cc gcc libc6-dev # SQLite is compiled from source
need git git
need python3 python3 # agent files
need node nodejs     # the example of a command agent
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
need "llvm-cov-$llvm" "llvm-$llvm" # coverage; the version must be that of rustc

if [ "${#packages[@]}" -gt 0 ]; then
  sudo=
  [ "$(id -u)" -eq 0 ] || sudo=sudo
  echo "setup: installing ${packages[*]}"
  export DEBIAN_FRONTEND=noninteractive
  $sudo apt-get update -qq
  $sudo apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi
if ! command -v cargo-nextest >/dev/null; then
  echo "setup: installing cargo-nextest"
  cargo install cargo-nextest --locked
fi
echo "setup: complete"
