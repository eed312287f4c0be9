#!/usr/bin/env bash
# Registers an agent file and starts it; waits until it is ready, stops it, starts it again.
set -euo pipefail
api=${MYAGENT_API:-http://127.0.0.1:8080}
agents=$(cd "$(dirname "$0")/../../agents" && pwd)
trap 'curl -sS -o /dev/null -X DELETE "$api/api/v1/services/api-weather"' EXIT

# The start has begun when the answer comes; paths are absolute.
curl -sS --fail-with-body -X POST "$api/api/v1/services" -H 'Content-Type: application/json' -d '{
  "name": "api-weather",
  "source": {"kind": "file", "path": "'"$agents"'/weather_agent.py"},
  "description": "tells the weather", "tags": ["example"],
  "environment": {"UNITS": "metric"}, "secrets": {"API_KEY": "not a real one"},
  "config": {"max_sessions": 50},
  "auto_start": true
}'
echo

# A start that waits: the answer comes when it is ready, or with the cause why not (502, SERVICE_START_FAILED).
curl -sS --fail-with-body -X POST "$api/api/v1/services/api-weather/start"
echo
curl -sS --fail-with-body -X POST "$api/api/v1/services/api-weather/stop"
echo
# And one that does not wait: 202.
curl -sS --fail-with-body -X POST "$api/api/v1/services/api-weather/start?wait=false"
echo
