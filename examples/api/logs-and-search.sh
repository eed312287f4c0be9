#!/usr/bin/env bash
# Reads and searches what agents print: of one service, as a stream, and of all of them at once.
set -euo pipefail
api=${MYAGENT_API:-http://127.0.0.1:8080}
service=$api/api/v1/services/api-talkative
folder=$(mktemp -d)
trap 'curl -sS -o /dev/null -X DELETE "$service"; rm -rf "$folder"' EXIT
cat >"$folder/talkative_agent.py" <<'PYTHON'
import sys

print("INFO loading the model")
print("WARNING the cache is cold", file=sys.stderr)
print("ERROR timeout of the first request", file=sys.stderr)


async def agent(message):
    return message
PYTHON
curl -sS --fail-with-body -o /dev/null -X POST "$api/api/v1/services" -H 'Content-Type: application/json' \
  -d '{"name": "api-talkative", "source": {"kind": "file", "path": "'"$folder"'/talkative_agent.py"}}'
curl -sS --fail-with-body -o /dev/null -X POST "$service/start"

# The last lines, the oldest first.
for _ in $(seq 100); do
  lines=$(curl -sS --fail-with-body "$service/logs?tail=20&since=2026-01-01T00:00:00Z")
  [[ $lines != *"first request"* ]] || break
  sleep 0.1
done
echo "$lines"
# Those that are at least warnings and match a regular expression.
curl -sS --fail-with-body -G "$service/logs" -d level=warn --data-urlencode 'grep=cache|timeout'
echo
# As a stream: the last line, then new ones as they come; here until a second has passed (exit code 28 of curl).
curl -sS -N --max-time 1 "$service/logs?follow=true&tail=1" 2>/dev/null || [ $? = 28 ]

# All services, the newest first.
curl -sS --fail-with-body -G "$api/api/v1/logs/search" --data-urlencode 'q=(?i)timeout' -d level=error -d limit=50 |
  python3 -c '
import json, sys
found = json.load(sys.stdin)
for line in found["items"]:
    print(line["service"], line["instance"], line["level"], line["line"])
print("cut short at " + found["reached"] if found["truncated"] else "that is all")
sys.exit(not found["items"])'
