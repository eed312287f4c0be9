#!/usr/bin/env bash
# Starts, stops, restarts or deletes several services with one request: by name, by tag or all of them. The answer is 200 and says
# what came of each; "problem" is null where it worked.
set -euo pipefail
api=${MYAGENT_API:-http://127.0.0.1:8080}
agents=$(cd "$(dirname "$0")/../../agents" && pwd)
batch() {
  curl -sS --fail-with-body -X POST "$api/api/v1/services/batch" -H 'Content-Type: application/json' -d "$1"
  echo
}
trap 'batch "{\"action\": \"delete\", \"tag\": \"api-batch\"}" >/dev/null 2>&1 || true' EXIT
for name in api-one api-two; do
  curl -sS --fail-with-body -o /dev/null -X POST "$api/api/v1/services" -H 'Content-Type: application/json' \
    -d '{"name": "'"$name"'", "source": {"kind": "file", "path": "'"$agents"'/echo_agent.py"}, "tags": ["api-batch"]}'
done

batch '{"action": "start", "tag": "api-batch"}'
batch '{"action": "restart", "names": ["api-one", "api-two"], "all_at_once": true}'
batch '{"action": "stop", "names": ["api-one", "nobody"]}' # nobody: SERVICE_NOT_FOUND, api-one is stopped all the same
batch '{"action": "delete", "tag": "api-batch"}'
