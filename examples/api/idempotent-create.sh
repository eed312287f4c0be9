#!/usr/bin/env bash
# Registers a service with an Idempotency-Key, twice, as a client does whose network failed before the answer came: it is made once.
set -euo pipefail
api=${MYAGENT_API:-http://127.0.0.1:8080}
agents=$(cd "$(dirname "$0")/../../agents" && pwd)
trap 'curl -sS -o /dev/null -X DELETE "$api/api/v1/services/api-once"' EXIT
key=$(python3 -c 'import uuid; print(uuid.uuid4())')
register() {
  curl -sS -D - -o /dev/null -X POST "$api/api/v1/services" -H "Idempotency-Key: $key" -H 'Content-Type: application/json' \
    -d '{"name": "'"$1"'", "source": {"kind": "file", "path": "'"$agents"'/echo_agent.py"}}' | tr -d '\r'
}

first=$(register api-once)
second=$(register api-once)
grep -q ' 201 ' <<<"$first" && grep -q ' 201 ' <<<"$second"
# The second answer says that it is that of the first request.
grep -i idempotent-replayed <<<"$second"
# The same key with something else is a mistake: 409, IDEMPOTENCY_KEY_REUSED.
register api-another | grep ' 409 '
