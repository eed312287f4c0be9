#!/usr/bin/env bash
# Measures everything, side by side with other supervisors, proxies and servers, in one run: half an hour, on a machine that does
# nothing else. bench/run.sh --help lists the cases.
# Arguments go to the program: bench/run.sh --rounds 9 list hand-over
# What is compared with is installed first (bench/peers/install.sh); PEERS says which kinds of it.
set -euo pipefail
cd "$(dirname "$0")/.."
# What a shell has set for a manager of its own must not reach ours.
unset MYAGENT_DATA_DIR XDG_RUNTIME_DIR

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
cargo build --release --locked --package myagent-cli --package myagent-bench
# shellcheck disable=SC2086 # several words
bench/peers/install.sh "$target/bench-peers" ${PEERS-supervisors servers proxies}
# Thousands of connections at once, with both ends here.
ulimit -n "$(ulimit -Hn)"

exec "$target/release/myagent-bench" --peers "$target/bench-peers" "$@"
