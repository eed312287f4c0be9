#!/usr/bin/env bash
# Changes how many instances of a service there are.
set -euo pipefail
api=${MYAGENT_API:-http://127.0.0.1:8080}
agents=$(cd "$(dirname "$0")/../../agents" && pwd)
service=$api/api/v1/services/api-scaled
trap 'curl -sS -o /dev/null -X DELETE "$service"' EXIT
curl -sS --fail-with-body -o /dev/null -X POST "$api/api/v1/services" -H 'Content-Type: application/json' \
  -d '{"name": "api-scaled", "source": {"kind": "file", "path": "'"$agents"'/echo_agent.py"}}'
curl -sS --fail-with-body -o /dev/null -X POST "$service/start"

# The answer comes when all of them are ready.
curl -sS --fail-with-body -o /dev/null -X POST "$service/scale" -H 'Content-Type: application/json' -d '{"replicas": 3}'
curl -sS --fail-with-body "$service/instances"
echo
# Back to one: the others are drained, their conversations go on in the one that stays.
curl -sS --fail-with-body -o /dev/null -X POST "$service/scale" -H 'Content-Type: application/json' -d '{"replicas": 1}'
curl -sS --fail-with-body "$service/instances"
echo
