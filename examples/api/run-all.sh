#!/usr/bin/env bash
# Runs every example against a manager with a data directory and ports of its own, and leaves nothing behind. Exit code 0: all of
# them did what they say. The program is $MYAGENT_MANAGER, else the one on the PATH, else the release build.
set -euo pipefail
manager=$(realpath "${MYAGENT_MANAGER:-$(command -v myagent-manager || echo "$(dirname "$0")/../../target/release/myagent-manager")}")
cd "$(dirname "$0")"

folder=$(mktemp -d --tmpdir myagent-api-XXXXXX)
export MYAGENT_DATA_DIR=$folder/data
up=""
finish() {
  [ -z "$up" ] || "$manager" shutdown --quiet 2>/dev/null || kill "$up" 2>/dev/null || true
  wait
  rm -rf "$folder"
}
trap finish EXIT

: >"$folder/up"
"$manager" up --api-port 0 --proxy-port 0 >"$folder/up" 2>&1 &
up=$!
for _ in $(seq 300); do
  MYAGENT_API=$(sed -n 's/^api listening on //p' "$folder/up")
  [ -z "$MYAGENT_API" ] && kill -0 "$up" 2>/dev/null || break
  sleep 0.1
done
export MYAGENT_API
[ -n "$MYAGENT_API" ] || { cat "$folder/up"; exit 1; }

failed=0
for example in *.sh watch.py; do
  run=("./$example")
  case $example in
    run-all.sh) continue ;;
    watch.py) run=(python3 ./watch.py --after 0 --count 20) ;;
  esac
  if timeout 90 "${run[@]}" >"$folder/out" 2>&1; then
    echo "ok      $example"
  else
    echo "FAILED  $example (exit code $?)"
    sed 's/^/    /' "$folder/out"
    failed=1
  fi
done

# Each of them cleans up after itself.
left=$(curl -sS "$MYAGENT_API/api/v1/services" | python3 -c 'import json, sys; print(*(item["name"] for item in json.load(sys.stdin)["items"]))')
[ -z "$left" ] || { echo "FAILED  services are left: $left"; failed=1; }
exit "$failed"
