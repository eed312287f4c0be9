#!/usr/bin/env bash
# Two minutes of the system, in a data directory and on ports of its own: a fleet, a chat, a killed agent, a killed manager.
set -euo pipefail
cd "$(dirname "$0")/.."

manager=$(realpath "${CARGO_TARGET_DIR:-target}/release/myagent-manager")
MYAGENT_DATA_DIR=$(mktemp -d)
export MYAGENT_DATA_DIR
api=18080 proxy=19090

up() {
  "$manager" up --port "$api" --proxy-port "$proxy" >>"$MYAGENT_DATA_DIR/demo.log" 2>&1 &
  up=$!
  until curl -fsS "http://127.0.0.1:$api/readyz" >/dev/null 2>&1; do
    kill -0 "$up" || { cat "$MYAGENT_DATA_DIR/demo.log"; exit 1; }
    sleep 0.1
  done
}
finish() {
  "$manager" shutdown >/dev/null 2>&1 || true
  wait || true
  rm -rf "$MYAGENT_DATA_DIR"
}
trap finish EXIT
step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
pid_of() { "$manager" status "$1" --format json | python3 -c 'import json,sys; print(json.load(sys.stdin)["instances"][0]["pid"])'; }

step "1. A manager starts; the example agents are registered and started."
up
for agent in agents/*.py; do
  "$manager" register "$(basename "$agent" .py | tr _ -)" "$agent" --auto-start
done
"$manager" list
first=(agents/*.py)
name=$(basename "${first[0]}" .py | tr _ -)

step "2. A chat with $name through the proxy."
python3 scripts/chat.py "ws://127.0.0.1:$proxy/s/$name" "hello"

step "3. The agent is killed and comes back."
kill -KILL "$(pid_of "$name")"
"$manager" events --limit 5 2>/dev/null || true
"$manager" status "$name"

step "4. The manager is killed in the middle of a conversation; the conversation goes on."
python3 scripts/chat.py "ws://127.0.0.1:$proxy/s/$name" "before" --pause 2 "after" &
chat=$!
sleep 1
kill -KILL "$up"
wait "$chat"

step "5. The next manager finds everything as it was."
up
"$manager" list
