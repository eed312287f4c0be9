#!/usr/bin/env bash
# Follows what happens to the fleet as server-sent events, loses the connection, and goes on where it was: with Last-Event-ID none
# is missed and none comes twice. watch.py does the same for as long as you like.
set -euo pipefail
api=${MYAGENT_API:-http://127.0.0.1:8080}
agents=$(cd "$(dirname "$0")/../../agents" && pwd)
events=$api/api/v1/events
seen=$(mktemp)
follower=""
trap 'curl -sS -o /dev/null -X DELETE "$api/api/v1/services/api-events"; [ -z "$follower" ] || kill "$follower" 2>/dev/null || true; rm -f "$seen"' EXIT
# soon TEXT: it is in what came, within ten seconds.
soon() {
  for _ in $(seq 100); do
    ! grep -q "$1" "$seen" || return 0
    sleep 0.1
  done
  return 1
}

# Without a stream: a list. The newest one is where to begin.
last=$(curl -sS --fail-with-body "$events?limit=1" | python3 -c 'import json, sys; print(*([e["id"] for e in json.load(sys.stdin)["items"]] or [0]))')

curl -sS -N -H 'Accept: text/event-stream' -H "Last-Event-ID: $last" "$events?kind=service.,instance." >>"$seen" &
follower=$!
curl -sS --fail-with-body -o /dev/null -X POST "$api/api/v1/services" -H 'Content-Type: application/json' \
  -d '{"name": "api-events", "source": {"kind": "file", "path": "'"$agents"'/echo_agent.py"}}'
soon service.registered

# The connection is gone; meanwhile something happens.
kill "$follower"
last=$(sed -n 's/^id: //p' "$seen" | tail -n 1)
curl -sS --fail-with-body -o /dev/null -X POST "$api/api/v1/services/api-events/start"

curl -sS -N -H 'Accept: text/event-stream' -H "Last-Event-ID: $last" "$events?kind=service.,instance." >>"$seen" &
follower=$!
soon service.start
soon instance.running
cat "$seen"
