#!/usr/bin/env bash
# Lists the open connections, closes one with a code and a reason of one's own, and tells clients something.
# The API names the address of the front door, so a client can be found one.
set -euo pipefail
api=${MYAGENT_API:-http://127.0.0.1:8080}
agents=$(cd "$(dirname "$0")/../../agents" && pwd)
service=$api/api/v1/services/api-connected
client=""
trap 'curl -sS -o /dev/null -X DELETE "$service"; [ -z "$client" ] || kill "$client" 2>/dev/null || true' EXIT
curl -sS --fail-with-body -o /dev/null -X POST "$api/api/v1/services" -H 'Content-Type: application/json' \
  -d '{"name": "api-connected", "source": {"kind": "file", "path": "'"$agents"'/echo_agent.py"}}'
curl -sS --fail-with-body -o /dev/null -X POST "$service/start"
proxy=$(curl -sS --fail-with-body "$api/api/v1/info" | python3 -c 'import json, sys; print(json.load(sys.stdin)["listeners"]["proxy"][0])')

# A client: the handshake of a WebSocket, and then it only listens. events=1 asks for notifications.
curl -sS -N -o /dev/null --http1.1 -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
  -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' -A api-example "http://$proxy/s/api-connected/?events=1" 2>/dev/null &
client=$!

# What is shown is at most about a second old.
id=""
for _ in $(seq 100); do
  id=$(curl -sS --fail-with-body "$api/api/v1/connections?service=api-connected&search=api-example&sort=-connected_at&limit=1" |
    python3 -c 'import json, sys; print(*(item["connection_id"] for item in json.load(sys.stdin)["items"]))')
  [ -z "$id" ] || break
  sleep 0.1
done
curl -sS --fail-with-body "$api/api/v1/connections/$id"
echo
curl -sS --fail-with-body "$api/api/v1/connections/stats"
echo
curl -sS --fail-with-body -X POST "$api/api/v1/notifications" -H 'Content-Type: application/json' \
  -d '{"message": "restart at noon", "service": "api-connected"}'
echo

# The client gets a close frame with this code; "closed": true when it is really over.
curl -sS --fail-with-body -X POST "$api/api/v1/connections/$id/disconnect" -H 'Content-Type: application/json' \
  -d '{"code": 4001, "reason": "maintenance"}'
echo
