#!/usr/bin/env bash
# Very many conversations at once: 30,000 with three instances of an agent file, 9,000 through one relay, 2,000 messages a second for a
# minute. Four minutes, on a machine that does nothing else. Arguments go to the program:
#   bench/many.sh --conversations 3000 --seconds 5 many-conversations
set -euo pipefail
cd "$(dirname "$0")/.."
# What a shell has set for a manager of its own must not reach ours.
unset MYAGENT_DATA_DIR XDG_RUNTIME_DIR

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
cargo build --release --locked --package myagent-cli --package myagent-bench
if (($(ulimit -Hn) < 20000)); then
  echo "bench: a process may have $(ulimit -Hn) descriptors, and 20000 are needed: ulimit -Hn 20000" >&2
  exit 1
fi
# The low limit of a common shell: whoever needs more has to take it.
ulimit -Sn 1024

cases=(many-conversations many-relayed)
for argument in "$@"; do
  case $argument in many-*) cases=() ;; esac
done
exec "$target/release/myagent-bench" "$@" ${cases[@]+"${cases[@]}"}
