#!/usr/bin/env bash
# Measures everything, side by side with other supervisors, proxies and servers, in one run: minutes, on a machine that does
# nothing else. bench/run.sh --help lists the cases.
# Arguments go to the program: bench/run.sh --rounds 9 list hand-over
# What is compared with is installed in target/bench-peers, once; where that cannot be done it is left out.
set -euo pipefail
cd "$(dirname "$0")/.."
# What a shell has set for a manager of its own must not reach ours.
unset MYAGENT_DATA_DIR XDG_RUNTIME_DIR

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
peers=$target/bench-peers
cargo build --release --locked --package myagent-cli --package myagent-bench

mkdir -p "$peers"
if [ ! -x "$peers/venv/bin/supervisord" ]; then
  { python3 -m venv "$peers/venv" && "$peers/venv/bin/pip" install --quiet supervisor==4.3.0; } ||
    echo "bench: supervisord is left out" >&2
fi
if [ ! -d "$(echo "$peers"/venv/lib/python*/site-packages/websockets-17.4.dist-info)" ]; then
  { [ -x "$peers/venv/bin/python" ] || python3 -m venv "$peers/venv"; } &&
    "$peers/venv/bin/pip" install --quiet websockets==17.4 || echo "bench: websockets is left out" >&2
fi
if [ ! -x "$peers/node_modules/.bin/pm2" ] && command -v npm >/dev/null; then
  npm install --silent --no-audit --no-fund --prefix "$peers" pm2@7 ||
    echo "bench: pm2 is left out" >&2
fi

exec "$target/release/myagent-bench" --peers "$peers" "$@"
