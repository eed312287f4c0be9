#!/usr/bin/env bash
# Changes a service that runs, only if nobody else has changed it meanwhile, and restarts it if the change needs that.
set -euo pipefail
api=${MYAGENT_API:-http://127.0.0.1:8080}
agents=$(cd "$(dirname "$0")/../../agents" && pwd)
service=$api/api/v1/services/api-changed
trap 'curl -sS -o /dev/null -X DELETE "$service"' EXIT
curl -sS --fail-with-body -o /dev/null -X POST "$api/api/v1/services" -H 'Content-Type: application/json' \
  -d '{"name": "api-changed", "source": {"kind": "file", "path": "'"$agents"'/echo_agent.py"}}'
curl -sS --fail-with-body -o /dev/null -X POST "$service/start"

# The version that was read.
etag=$(curl -sS --fail-with-body -o /dev/null -D - "$service" | tr -d '\r' | sed -n 's/^etag: //Ip')

# A variable reaches the agent at its next start: the answer says "restart_required": true until then, or restart=true does it.
curl -sS --fail-with-body -X PATCH "$service?restart=true" -H "If-Match: $etag" -H 'Content-Type: application/json' \
  -d '{"environment": {"UNITS": "metric"}}'
echo

# The same version again: somebody (we) changed it since.
status=$(curl -sS -o /dev/null -w '%{http_code}' -X PATCH "$service" -H "If-Match: $etag" -H 'Content-Type: application/json' \
  -d '{"description": "too late"}')
[ "$status" = 412 ]
echo "with the old version $etag: $status"

# All settings at once: those that are not given get their defaults.
curl -sS --fail-with-body -X PUT "$service/config" -H 'Content-Type: application/json' -d '{"max_sessions": 20}'
echo
