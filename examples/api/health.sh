#!/usr/bin/env bash
# Asks after the manager itself, and after one service: its health now, a check at once, the checks before.
set -euo pipefail
api=${MYAGENT_API:-http://127.0.0.1:8080}
agents=$(cd "$(dirname "$0")/../../agents" && pwd)
service=$api/api/v1/services/api-healthy
trap 'curl -sS -o /dev/null -X DELETE "$service"' EXIT

curl -sS --fail-with-body "$api/livez"
curl -sS --fail-with-body "$api/readyz"
# "degraded" and the reason in "problems" if the manager cannot store anything; ill services do not count here.
curl -sS --fail-with-body "$api/health"
echo
# What `doctor` finds on its machine: disk, descriptors, Python, ports.
curl -sS --fail-with-body "$api/api/v1/doctor" |
  python3 -c 'import json, sys; [print(one["level"], one["check"], one["message"], sep=": ") for one in json.load(sys.stdin)["findings"]]'

curl -sS --fail-with-body -o /dev/null -X POST "$api/api/v1/services" -H 'Content-Type: application/json' \
  -d '{"name": "api-healthy", "source": {"kind": "file", "path": "'"$agents"'/echo_agent.py"}, "config": {"health_check_interval": 5}}'
curl -sS --fail-with-body -o /dev/null -X POST "$service/start"
curl -sS --fail-with-body "$service/health"
echo
curl -sS --fail-with-body -X POST "$service/health/check"
echo
curl -sS --fail-with-body "$service/health/history?limit=5"
echo
