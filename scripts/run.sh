#!/usr/bin/env bash
# Runs the example agents behind one address until Ctrl-C; arguments are passed on to `myagent-manager up`.
# The data directory is the default one, or $MYAGENT_DATA_DIR. It may be run again and again: what is registered stays so.
set -euo pipefail
cd "$(dirname "$0")/.."

manager=$(realpath "${MYAGENT_MANAGER:-${CARGO_TARGET_DIR:-target}/release/myagent-manager}")

# Beside the manager: registers and starts the agents as soon as it listens, says what one may try, and is done.
agents() {
  local up=$$ proxy="" api="" state pid program failed=0
  until [ -n "$proxy" ]; do
    kill -0 "$up" 2>/dev/null || return 0 # it has told why
    sleep 0.1
    state=$("$manager" status 2>/dev/null) || continue
    api=$(sed -n 's/^listeners .*api \([^ ,]*\).*/\1/p' <<<"$state")
    proxy=$(sed -n 's/^listeners .*proxy \([^ ,]*\).*/\1/p' <<<"$state")
  done
  pid=$(sed -n 's/^manager .*(pid \([0-9]*\)).*/\1/p' <<<"$state")
  program=${manager#"$PWD"/}
  register weather agents/weather_agent.py || failed=1
  register echo agents/echo_agent.py || failed=1
  register counter -- node agents/counter_server.mjs || failed=1
  "$manager" start --quiet weather echo counter || failed=1
  echo
  "$manager" list
  [ "$failed" = 0 ] || echo "Not all of the example agents run; see: $program status"
  cat <<MESSAGE

One address for all of them: ws://$proxy. Try, in another terminal, in this folder:

  python3 scripts/chat.py ws://$proxy/s/weather/ "Is it warmer in Paris or in Tokyo?"
  python3 scripts/chat.py ws://$proxy/s/counter/ 300        # meanwhile: kill -9 $pid, the manager
  $program status weather
  $program events -f
  curl http://$api/api/v1/services

MESSAGE
  if [ "$pid" != "$up" ]; then
    echo "A manager ran already (process $pid): Ctrl-C here closes these two addresses, and the agents go on."
  else
    echo "Ctrl-C here stops the agents and the manager; the next 'make run' brings them back."
  fi
}

register() { # NAME SOURCE…
  "$manager" status "$1" >/dev/null 2>&1 || "$manager" register --quiet --auto-start "$@"
}

agents &
# The terminal is for the agents' story; what else happens is in `events`.
export MYAGENT_LOG_LEVEL=${MYAGENT_LOG_LEVEL:-warn}
exec "$manager" up "$@"
