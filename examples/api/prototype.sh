#!/usr/bin/env bash
# The lines that users of the older prototype in Python have in their scripts. They go on as they are: a body that curl sends as
# form data, "agent_factory_path", and settings beside the name.
set -euo pipefail
API=${MYAGENT_API:-http://127.0.0.1:8080}
agents=$(cd "$(dirname "$0")/../../agents" && pwd)
trap 'curl -sS -o /dev/null -X DELETE "$API/api/v1/services/weather-prototype"' EXIT

curl -sS --fail-with-body -X POST "$API/api/v1/services" \
  -d '{"name":"weather-prototype","agent_factory_path":"'"$agents"'/weather_agent.py","max_sessions":50,"auto_start":true}'
echo
curl -sS --fail-with-body "$API/api/v1/services"
echo
curl -sS --fail-with-body "$API/api/v1/services/weather-prototype"
echo
curl -sS --fail-with-body -X POST "$API/api/v1/services/weather-prototype/start"
echo
curl -sS --fail-with-body -X POST "$API/api/v1/services/weather-prototype/stop"
echo
curl -sS --fail-with-body "$API/api/v1/stats"
echo
curl -sS --fail-with-body "$API/api/v1/connections"
echo
curl -sS --fail-with-body -X DELETE "$API/api/v1/services/weather-prototype"
trap - EXIT
