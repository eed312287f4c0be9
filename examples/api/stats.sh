#!/usr/bin/env bash
# Numbers: of the fleet, of each service, of the connections; and all of them for Prometheus.
set -euo pipefail
api=${MYAGENT_API:-http://127.0.0.1:8080}

curl -sS --fail-with-body "$api/api/v1/stats"
echo
curl -sS --fail-with-body "$api/api/v1/services?sort=-active_connections&limit=10" | python3 -c '
import json, sys
for service in json.load(sys.stdin)["items"]:
    stats = service["stats"]
    print(service["name"], service["status"], stats["active_connections"], stats["messages_in"], stats["messages_out"])'
curl -sS --fail-with-body "$api/api/v1/connections/stats"
echo
curl -sS --fail-with-body "$api/metrics" | grep -E '^myagent_(build_info|uptime_seconds|services|instances|open_connections)'
