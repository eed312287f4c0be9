#!/usr/bin/env bash
# Registers a command agent: any program that opens a WebSocket server on $PORT. Needs Node for the example agent.
set -euo pipefail
api=${MYAGENT_API:-http://127.0.0.1:8080}
agents=$(cd "$(dirname "$0")/../../agents" && pwd)
trap 'curl -sS -o /dev/null -X DELETE "$api/api/v1/services/api-counter"' EXIT

# The program is named by its path, because the manager's PATH is not yours; "cwd" is where it runs.
curl -sS --fail-with-body -X POST "$api/api/v1/services" -H 'Content-Type: application/json' -d '{
  "name": "api-counter",
  "source": {"kind": "command", "argv": ["'"$(command -v node)"'", "counter_server.mjs"], "cwd": "'"$agents"'"}
}'
echo
curl -sS --fail-with-body -X POST "$api/api/v1/services/api-counter/start"
echo
