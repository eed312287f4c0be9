#!/usr/bin/env bash
# Runs every test once, instrumented, and holds the coverage against its gates. The last line is the count of tests.
# Leaves target/coverage/lcov.info, and with --html a report in target/coverage/html.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
out=$target/coverage
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
for tool in "llvm-profdata-$llvm" "llvm-cov-$llvm"; do
  command -v "$tool" >/dev/null || { echo "coverage: $tool is missing; run: make setup" >&2; exit 1; }
done

rm -rf "$out"
mkdir -p "$out"
log=$out/tests.log
set +e
(
  set -euo pipefail
  export RUSTC_WORKSPACE_WRAPPER=$PWD/scripts/instrumented-rustc
  # One file per program (%m), written while it runs (%c): killed processes count too.
  export LLVM_PROFILE_FILE=$out/%m%c.profraw
  cargo test --workspace --doc --locked --quiet
  cargo nextest run --workspace --locked --profile "${NEXTEST_PROFILE:-ci}" 2>&1 | tee "$log"
  npm --prefix console run --silent e2e -- --reporter=verbose --reporter=json --outputFile.json="$out/console.json"
  cargo nextest list --workspace --locked --list-type binaries-only --message-format json >"$out/binaries.json" 2>/dev/null
)
tests=$?
set -e
if [ "$tests" -ne 0 ]; then
  exit "$tests"
fi

objects=()
while read -r binary; do objects+=(--object "$binary"); done < <(
  grep -o '"binary-path":"[^"]*"' "$out/binaries.json" | cut -d'"' -f4
  [ ! -x "$target/debug/myagent-manager" ] || echo "$target/debug/myagent-manager"
)
"llvm-profdata-$llvm" merge --sparse --failure-mode=warn -o "$out/all.profdata" "$out"/*.profraw
"llvm-cov-$llvm" export --format=lcov --instr-profile="$out/all.profdata" --ignore-filename-regex='/\.cargo/|/rustc/' \
  "${objects[@]}" >"$out/lcov.info" 2>"$out/llvm-cov.log" || { cat "$out/llvm-cov.log" >&2; exit 1; }
if [ "${1:-}" = --html ]; then
  "llvm-cov-$llvm" show --format=html --output-dir="$out/html" --instr-profile="$out/all.profdata" \
    --ignore-filename-regex='/\.cargo/|/rustc/' "${objects[@]}" 2>>"$out/llvm-cov.log"
fi
rm -f "$out"/*.profraw
gate=0
cargo xtask coverage "$out/lcov.info" || gate=$?
# "Summary [ 12.3s] 90 tests run: 90 passed, 2 skipped", and the same of the console's stories, become the one line that needs no
# explanation.
{
  sed -n 's/.*tests\{0,1\} run: //p' "$log" | tail -1
  node -e 'const { numPassedTests: passed, numFailedTests: failed, numPendingTests: skipped } = require(process.argv[1])
    console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`)' "$out/console.json"
} | awk -F', ' '{
  for (i = 1; i <= NF; i++) { split($i, part, " "); count[part[2]] += part[1] } }
  END { printf "%d passed, %d failed, %d skipped\n", count["passed"], count["failed"], count["skipped"] }'
exit "$gate"
