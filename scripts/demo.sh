#!/usr/bin/env bash
# A minute of the system, with things going wrong on purpose. Everything that it claims is checked: exit code 0 means that it
# happened. It has a data directory and ports of its own, and leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."

manager=$(realpath "${MYAGENT_MANAGER:-${CARGO_TARGET_DIR:-target}/release/myagent-manager}")
MYAGENT_DATA_DIR=$(mktemp -d --tmpdir myagent-demo-XXXXXX)
export MYAGENT_DATA_DIR
out=$MYAGENT_DATA_DIR/out # what chats print
mkdir "$out"
up="" proxy="" claims=0 bold="" green="" red="" plain=""
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
fi

# --- Telling and checking ---------------------------------------------------------------------------------------------

step() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
say() { printf '  %s\n' "$@"; }
indent() { fold -s -w 112 | sed 's/^/  │ /'; }
# Prints a command as one would type it, and what it says. Its failure is not ours: what must be so is checked.
run() {
  local word words=""
  for word in "$@"; do
    [[ $word != *[\ \"]* ]] || word="'$word'"
    words+=" $word"
  done
  printf '  $ myagent-manager%s\n' "$words"
  "$manager" "$@" 2>&1 | indent || true
}
# claim "what is so" COMMAND…: the command must succeed.
claim() {
  if "${@:2}"; then
    claims=$((claims + 1))
    printf '  %s✓ %s%s\n' "$green" "$1" "$plain"
  else
    printf '  %s✗ %s%s\n\n' "$red" "$1" "$plain"
    echo "demo: this did not happen. The last events and lines of the manager's log:"
    "$manager" events -n 15 || true
    tail -n 15 "$MYAGENT_DATA_DIR/up.txt"
    exit 1
  fi
}
# soon COMMAND…: it succeeds within half a minute.
soon() {
  local end=$((SECONDS + 30))
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || { say "waited half a minute in vain for: $*"; return 1; }
    sleep 0.05
  done
}
says() { grep -qF -- "$2" "$out/$1"; }
not() { ! "$@"; }
now() { date +%s%N; }
seconds_since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f s", (b - a) / 1e9 }'; }

# --- The fleet --------------------------------------------------------------------------------------------------------

begin() { # starts a manager in the foreground of its own; the port of the proxy stays the same
  : >"$MYAGENT_DATA_DIR/up.txt"
  "$manager" up --api-port 0 --proxy-port "${proxy:-0}" >/dev/null 2>"$MYAGENT_DATA_DIR/up.txt" &
  up=$!
  soon "$manager" status || { cat "$MYAGENT_DATA_DIR/up.txt"; exit 1; }
  proxy=$(sed -n 's|^proxy listening on ws://127.0.0.1:||p' "$MYAGENT_DATA_DIR/up.txt")
}
end() {
  local code=$?
  trap '' INT TERM
  # Without a manager, `stop` starts one: it finds what runs.
  "$manager" stop --all >/dev/null 2>&1 || true
  "$manager" shutdown >/dev/null 2>&1 || true
  rm -rf "$MYAGENT_DATA_DIR"
  exit "$code"
}
trap end EXIT
chat() { # FILE SERVICE MESSAGE…: what is said goes into the file
  python3 scripts/chat.py "ws://127.0.0.1:$proxy/s/$2/" "${@:3}" >"$out/$1" 2>&1
}
talk() { # SERVICE MESSAGE…: a chat that one sees
  chat talk "$@" || true
  printf '  $ chat.py ws://127.0.0.1:%s/s/%s/\n' "$proxy" "$1"
  indent <"$out/talk"
}
instance() { # SERVICE KEY: of its first instance
  "$manager" status "$1" --format json |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["instances"][0].get(sys.argv[1], ""))' "$2"
}
is() { [ "$(instance "$1" "$2" 2>/dev/null)" = "$3" ]; }
is_back() { is "$1" status running && not is "$1" pid "$2"; }
event() { "$manager" events -n 200 | grep -q -- "$1.*$2"; }
# Every process of the fleet: agents, runners, manager.
processes() {
  "$manager" list --format json | python3 -c 'import json, sys
for service in json.load(sys.stdin):
    for instance in service["instances"]:
        print(instance["pid"], instance["runner_pid"])'
  echo "$up"
}
gone() { # a dead process that its parent has not fetched yet counts as gone
  local pid
  for pid in "$@"; do
    not grep -Eqs '^State:[[:space:]]+[^ZX[:space:]]' "/proc/$pid/status" || return 1
  done
}
quiet() { "$manager" stats | grep -q "^connections *0 open"; }

# --- The story --------------------------------------------------------------------------------------------------------

step "1. Three agents behind one address"
begin
run register weather agents/weather_agent.py --auto-start
run register echo agents/echo_agent.py --auto-start
run register counter --auto-start -- node agents/counter_server.mjs
run list
talk weather "Paris or Tokyo?"
claim "a Python file answers" says talk "The warmest of them is Paris."
talk counter 10
claim "so does a program in any language, with a WebSocket server of its own" says talk "8, 9, 10"

step "2. Twenty clients at once"
clients=()
for number in {1..10}; do
  chat "w$number" weather "London, Cairo and Berlin" & clients+=($!)
  chat "c$number" counter 100 & clients+=($!)
done
wait "${clients[@]}" || true
complete() { for number in {1..10}; do says "w$number" "warmest of them is Cairo" && says "c$number" "99, 100" || return 1; done; }
claim "each has its whole answer" complete
soon quiet
run stats

step "3. kill -9 of an agent, in the middle of its answer"
chat killed weather "All of them: Amsterdam Berlin Cairo London Paris Sydney Tokyo" "And Paris?" & client=$!
claim "it answers" soon says killed "it is"
pid=$(instance weather pid)
killed=$(now)
kill -KILL "$pid"
soon is_back weather "$pid" || true
back=$(seconds_since "$killed")
wait "$client" || true
indent <"$out/killed"
claim "the client was told, on a connection that stayed open" says killed WORKER_LOST
claim "and the same connection had its next answer, from a new process ($back after the kill)" says killed "In Paris it is sunny"

step "4. A client loses its network in the middle of an answer, and comes back two seconds later"
chat lost weather "Amsterdam Berlin Cairo London Paris Sydney Tokyo" --leave 2 || true
indent <"$out/lost"
whole() { chat plain weather "Amsterdam Berlin Cairo London Paris Sydney Tokyo" && [ "$(sed 's/ \[gone for 2 s\] //' "$out/lost")" = "$(<"$out/plain")" ]; }
claim "the answer went on meanwhile: nothing is missing, nothing came twice" whole

step "5. An agent that crashes whenever it starts"
run register broken --auto-start --set restart_delay=0.2 --set max_restart_count=2 -- \
  bash -c 'echo "reading the model"; echo "model.bin: no such file" >&2; exit 3'
claim "it was tried three times and given up, with the cause" event instance.error "exit code 3; gave up after 2 restarts"
run status broken
claim "its last words are kept" grep -q "model.bin: no such file" <("$manager" status broken)
claim "and nobody else noticed" is counter restart_count 0
"$manager" unregister broken >/dev/null

step "6. An agent that hangs: alive, and deaf"
"$manager" register deaf --auto-start --quiet --set health_check_interval=0.5 --set health_check_timeout=0.5 --set stop_grace=1 \
  -- node agents/counter_server.mjs
pid=$(instance deaf pid)
stopped=$(now)
kill -STOP "$pid"
say "\$ kill -STOP $pid"
claim "its health checks found it out, and it got no more clients ($(soon event instance.unhealthy deaf || true; seconds_since "$stopped"))" event instance.unhealthy deaf
soon is_back deaf "$pid" || true
claim "and it was replaced ($(seconds_since "$stopped"))" is_back deaf "$pid"
"$manager" events --service deaf | cut -c1-110 | indent
talk deaf 5
claim "it counts again" says talk "4, 5"
"$manager" unregister deaf >/dev/null

step "7. kill -9 of the manager itself, in the middle of two answers"
weather_pid=$(instance weather pid) counter_pid=$(instance counter pid) counter_restarts=$(instance counter restart_count)
chat hosted weather "Amsterdam Berlin Cairo London Paris Sydney Tokyo" & hosted=$!
chat relayed counter 200 & relayed=$!
claim "both have begun" soon eval 'says hosted "it is" && says relayed "20, "'
{ kill -KILL "$up"; wait "$up"; } 2>/dev/null || true # without the shell's own word on it
cp "$out/relayed" "$out/relayed.then"
say "\$ kill -KILL $up        # the counter has said: …$(tail -c 20 "$out/relayed.then")"
refused() { not "$manager" list >/dev/null 2>&1 && not chat nobody weather x; }
claim "the manager is gone; who comes now is refused" refused
claim "and both answers were still under way then" kill -0 "$hosted" "$relayed"
wait "$hosted" "$relayed" || true
indent <"$out/hosted"
say "the counter ended with: …$(tail -c 20 "$out/relayed" | tr -d '\n')"
claim "both went on to their end, on the connections that they had" eval 'says hosted "The warmest of them is Cairo." && says relayed "199, 200" && not says relayed.then "199, 200"'

step "8. The next manager finds everything as it was"
begin
claim "it took up the agents that run" soon is counter pid "$counter_pid"
run list
same() { is weather pid "$weather_pid" && is counter pid "$counter_pid" && is counter restart_count "$counter_restarts"; }
claim "the same processes; none was restarted" soon same
talk weather "London?"
claim "and new clients are served" says talk "In London it is rainy"

step "9. The end"
read -ra fleet < <(processes | xargs)
say "The processes of the fleet: ${fleet[*]}"
claim "they run" kill -0 "${fleet[@]}"
run shutdown
wait "$up" || true
claim "not one is left" gone "${fleet[@]}"

printf '\n%s%s claims, all of them true; it took %s s.%s\n' "$bold" "$claims" "$SECONDS" "$plain"
