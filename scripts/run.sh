#!/usr/bin/env bash
# Serves the example agents in the foreground until Ctrl-C. Data: $MYAGENT_DATA_DIR, else target/run.
set -euo pipefail
cd "$(dirname "$0")/.."

manager=${CARGO_TARGET_DIR:-target}/release/myagent-manager
export MYAGENT_DATA_DIR=${MYAGENT_DATA_DIR:-$PWD/target/run}
mkdir -p "$MYAGENT_DATA_DIR"

"$manager" up "$@" &
up=$!
# Ctrl-C reaches the manager by itself, as it is in our process group; a signal sent to this script alone is passed on.
trap 'kill -TERM "$up" 2>/dev/null || true' TERM
trap : INT

until "$manager" list --quiet >/dev/null 2>&1; do
  kill -0 "$up" 2>/dev/null || break
  sleep 0.1
done

register() { # NAME ARGUMENTS…: once; a second run finds it registered and, as it was, running
  "$manager" status "$1" >/dev/null 2>&1 || "$manager" register "$@" || true
}
for agent in agents/*.py; do
  [ -e "$agent" ] && register "$(basename "$agent" .py | tr _ -)" "$agent" --auto-start
done
for agent in agents/*/server.js; do
  [ -e "$agent" ] && register "$(basename "$(dirname "$agent")" | tr _ -)" --auto-start -- node "$agent"
done
"$manager" list || true

# A signal ends `wait` but not the manager, which drains first: wait until it is gone.
code=0
while kill -0 "$up" 2>/dev/null; do
  code=0
  wait "$up" || code=$?
done
exit "$code"
