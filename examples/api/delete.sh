#!/usr/bin/env bash
# Removes a service: it is stopped, and forgotten with its logs and its journal.
set -euo pipefail
api=${MYAGENT_API:-http://127.0.0.1:8080}
agents=$(cd "$(dirname "$0")/../../agents" && pwd)
curl -sS --fail-with-body -o /dev/null -X POST "$api/api/v1/services" -H 'Content-Type: application/json' \
  -d '{"name": "api-gone", "source": {"kind": "file", "path": "'"$agents"'/echo_agent.py"}, "auto_start": true}'

# Without If-Match: whatever its version is.
status=$(curl -sS -o /dev/null -w '%{http_code}' -X DELETE "$api/api/v1/services/api-gone" -H 'If-Match: "1"')
echo "removed: $status"
[ "$status" = 204 ]
status=$(curl -sS -o /dev/null -w '%{http_code}' "$api/api/v1/services/api-gone")
echo "asked again: $status"
[ "$status" = 404 ]
