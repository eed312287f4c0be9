#!/usr/bin/env bash
# Measures the front door, the relay and routing against their budgets, side by side with other proxies: twelve minutes, on a
# machine that does nothing else. Arguments go to the program: bench/proxy.sh --rounds 9, or some of the cases:
#   bench/proxy.sh --all-peers relay-echo relay-tokens
set -euo pipefail
cd "$(dirname "$0")/.."

cases=(relay-echo relay-rate relay-tokens relay-connect relay-idle hand-over killed-agent rule-change routing)
for argument in "$@"; do
  # One that names a case, and no number of rounds: only what is named is measured.
  case $argument in relay-* | hand-over | killed-agent | rule-change | routing) cases=() ;; esac
done
PEERS=proxies exec bench/run.sh "$@" ${cases[@]+"${cases[@]}"}
