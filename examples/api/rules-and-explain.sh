#!/usr/bin/env bash
# Tries a routing rule out and makes it, asks who would get a client and why, changes the rule, removes it.
set -euo pipefail
api=${MYAGENT_API:-http://127.0.0.1:8080}
agents=$(cd "$(dirname "$0")/../../agents" && pwd)
rules=$api/api/v1/routing/rules
trap 'curl -sS -o /dev/null -X DELETE "$rules/api-mobile"; curl -sS -o /dev/null -X DELETE "$api/api/v1/services/api-phones"' EXIT
curl -sS --fail-with-body -o /dev/null -X POST "$api/api/v1/services" -H 'Content-Type: application/json' \
  -d '{"name": "api-phones", "source": {"kind": "file", "path": "'"$agents"'/echo_agent.py"}, "tags": ["api-mobile"]}'
curl -sS --fail-with-body -o /dev/null -X POST "$api/api/v1/services/api-phones/start"

# What would it change for those who are connected now? Nothing is made.
curl -sS --fail-with-body -X POST "$rules/dry-run" -H 'Content-Type: application/json' -d '{"rule": {
  "name": "api-mobile", "priority": 10, "target_tags": ["api-mobile"],
  "conditions": [{"field": "user_agent", "operator": "contains", "value": "Mobile"}]
}}'
echo

curl -sS --fail-with-body -X POST "$rules" -H 'Content-Type: application/json' -d '{
  "name": "api-mobile", "priority": 10, "target_tags": ["api-mobile"], "target_strategy": "least_connections",
  "conditions": [{"field": "user_agent", "operator": "contains", "value": "Mobile"}]
}'
echo

# Decided by the code that decides for real clients, with the loads as they are now.
curl -sS --fail-with-body -X POST "$api/api/v1/routing/explain" -H 'Content-Type: application/json' \
  -d '{"path": "/chat?lang=en", "client_ip": "192.168.1.7", "headers": {"User-Agent": "Mobile Safari"}}' |
  python3 -c 'import json, sys; why = json.load(sys.stdin); print(why["outcome"], why["rule"], why["instance"]); sys.exit(why["rule"] != "api-mobile")'

# Like a service, a rule has a version for If-Match; null sets a field back to its default.
curl -sS --fail-with-body -X PATCH "$rules/api-mobile" -H 'If-Match: "1"' -H 'Content-Type: application/json' \
  -d '{"enabled": false, "target_strategy": null}'
echo
curl -sS --fail-with-body "$rules?enabled=false&search=api-"
echo
