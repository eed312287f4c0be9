#!/usr/bin/env python3
"""Holds every conformance case of the suite `kosoku` against servers, directly and through the manager: front door, runner,
relay. No case may be worse through it than directly. Prints a table, then each case that differs; exit code 1 if one is worse.

  run.py [--include GLOB]... [--server plain|deflate] [--keep FOLDER]

Run by `make conformance`, which builds what it needs.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
MANAGER = Path(os.environ.get("MYAGENT_MANAGER", TARGET / "release/myagent-manager"))
KOSOKU = TARGET / "python/bin/kosoku"
# An echo server without permessage-deflate, and one that negotiates it.
SERVERS = {
    "plain": [str(TARGET / "release/myagent-fake-agent"), "--echo"],
    "deflate": ["node", str(ROOT / "scripts/conformance/echo.mjs")],
}
# The worse, the higher.
RANK = {"OK": 0, "INFORMATIONAL": 0, "NON-STRICT": 1, "UNIMPLEMENTED": 2, "UNCLEAN": 3, "WRONG CODE": 3, "FAILED": 4}
WORST = max(RANK.values())


class Fleet:
    """A manager with one service, to which everybody is routed."""

    def __init__(self, folder, command):
        self.data, self.said = folder / "data", folder / "up.txt"
        (folder / "run").mkdir()
        self.env = dict(os.environ, XDG_RUNTIME_DIR=str(folder / "run"))
        with self.said.open("w") as said:
            words = [MANAGER, "--data-dir", self.data, "up", "--api-port", "0", "--proxy-port", "0"]
            self.up = subprocess.Popen(words, env=self.env, stdout=subprocess.DEVNULL, stderr=said)
        self.front_door = self.listening("proxy")
        self.cli("register", "echo", "--auto-start", "--", *command)
        instance = json.loads(self.cli("status", "echo", "--format", "json"))["instances"][0]
        self.server = f"{instance['host']}:{instance['port']}"

    def listening(self, name):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            found = re.search(rf"{name} listening on ws://(\S+)", self.said.read_text())
            if found:
                return found[1].strip("/")
            if self.up.poll() is not None:
                break
            time.sleep(0.05)
        sys.exit(f"conformance: the manager does not listen:\n{self.said.read_text()}")

    def cli(self, *words):
        done = subprocess.run([MANAGER, "--data-dir", self.data, *words], env=self.env, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"conformance: {' '.join(words)}: {done.stderr}")
        return done.stdout

    def end(self):
        self.up.terminate()
        self.up.wait(60)


@contextmanager
def fleet(folder, command):
    folder.mkdir()
    running = Fleet(folder, command)
    try:
        yield running
    finally:
        running.end()


def run_cases(address, folder, include):
    """Behaviour of each case, with that of its close."""
    chosen = [word for glob in include for word in ("-i", glob)]
    words = [KOSOKU, "-m", "fuzzingclient", "-p", "2", *chosen, "-o", folder, address]
    # Its exit code says whether a case failed: that is compared here.
    done = subprocess.run(words, capture_output=True, text=True)
    index = folder / "index.json"
    if not index.exists():
        sys.exit(f"conformance: kosoku made no report for {address}:\n{done.stderr}")
    (agent,) = json.loads(index.read_text()).values()
    return {case: (result["behavior"], result["behaviorClose"]) for case, result in agent.items()}


def rank(result):
    return [RANK.get(word, WORST) for word in result]


def by_number(case):
    return [int(part) for part in case.split(".")]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments.add_argument("--include", action="append", default=[], help="only these cases (repeatable)")
    arguments.add_argument("--server", choices=SERVERS, help="only this one")
    arguments.add_argument("--keep", type=Path, help="keep the suite's own reports here")
    options = arguments.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="myagent-conformance-"))
    names, worse, differing = ("OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED", "FAILED"), 0, []
    row = "{:<9}{:<14}{:>6}{:>6}{:>12}{:>15}{:>15}{:>8}{:>7}{:>8}{:>7}"
    print(row.format("server", "way", "cases", *(name.lower() for name in names), "worse", "better", "s"), flush=True)
    try:
        for name in [options.server] if options.server else SERVERS:
            with fleet(folder / name, SERVERS[name]) as running:
                results = {}
                for way, address in (("directly", running.server), ("through us", running.front_door)):
                    began = time.monotonic()
                    results[way] = run_cases(address, folder / f"{name}-{way.split()[0]}", options.include)
                    took = f"{time.monotonic() - began:.0f}"
                    direct, now = results["directly"], results[way]
                    down = [case for case in now if any(a > b for a, b in zip(rank(now[case]), rank(direct[case])))]
                    up = [case for case in now if case not in down and rank(now[case]) != rank(direct[case])]
                    counts = Counter(behaviour for behaviour, _ in now.values())
                    numbers = [counts[word] for word in names]
                    print(row.format(name, way, len(now), *numbers, len(down), len(up), took), flush=True)
                    if now.keys() != direct.keys():
                        sys.exit("conformance: not the same cases were run")
                worse += len(down)
                for case in sorted(direct, key=by_number):
                    if direct[case] != now[case]:
                        said = [" / ".join(results[way][case]) for way in ("directly", "through us")]
                        verdict = "worse" if case in down else "better" if case in up else "same rank"
                        differing.append((name, case, *said, verdict))
    finally:
        if options.keep:
            shutil.copytree(folder, options.keep, dirs_exist_ok=True)
        shutil.rmtree(folder)
    for line in differing:
        print("  {}: case {}: directly {}; through us {}: {}".format(*line))
    print(f"{worse} worse, {len(differing)} that differ")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
