#!/usr/bin/env bash
# Registers an endpoint that runs already: it is routed to and checked, but neither started nor stopped. Here it is an agent of the
# same fleet, so that the example needs nothing else; elsewhere it is ws:// or wss:// of another machine.
set -euo pipefail
api=${MYAGENT_API:-http://127.0.0.1:8080}
agents=$(cd "$(dirname "$0")/../../agents" && pwd)
trap 'curl -sS -o /dev/null -X POST "$api/api/v1/services/batch" -d "{\"action\": \"delete\", \"names\": [\"api-elsewhere\", \"api-echo\"]}"' EXIT

curl -sS --fail-with-body -o /dev/null -X POST "$api/api/v1/services" -H 'Content-Type: application/json' \
  -d '{"name": "api-echo", "source": {"kind": "file", "path": "'"$agents"'/echo_agent.py"}}'
url=$(curl -sS --fail-with-body -X POST "$api/api/v1/services/api-echo/start" |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["endpoint"])')

curl -sS --fail-with-body -X POST "$api/api/v1/services" -H 'Content-Type: application/json' \
  -d '{"name": "api-elsewhere", "source": {"kind": "external", "url": "'"$url"'"}}'
echo
curl -sS --fail-with-body -X POST "$api/api/v1/services/api-elsewhere/start"
echo
