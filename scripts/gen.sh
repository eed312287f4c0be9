#!/usr/bin/env bash
# Writes the pages of docs/reference from the program itself, so that they cannot say what is not so.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p docs/reference
cargo run --quiet --locked --package myagent-cli -- reference docs/reference
