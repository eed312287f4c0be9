#!/usr/bin/env python3
"""Asks a manager everything that its OpenAPI document allows, and what it forbids, with schemathesis: first with names of its
own making, then about a service, a rule and instances that are there. Fails if an answer is not what the document says."""

import argparse
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
# A document cannot say all that is checked (whether a file is there, for one), so what it allows may be refused.
CHECKS = ["--exclude-checks", "positive_data_acceptance"]
# What would end or change the service and the rule that the second part asks about.
KEPT = ["delete_service", "update_service", "replace_service", "replace_service_config", "batch_services", "delete_rule",
        "update_rule", "replace_rule", "create_service", "create_rule", "scale_service", "stop_service"]


def say(text):
    print(text, flush=True)


def wait_for(what, look, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    sys.exit(f"{what} did not come within {seconds} s")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ask(api, method, path, body=None):
    request = urllib.request.Request(api + path, method=method, data=json.dumps(body).encode() if body else None)
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or "null")


def be_there(api, url):
    """A service that runs and a rule, as new."""
    for path in ["services/weather", "routing/rules/mobile"]:
        with contextlib.suppress(urllib.error.HTTPError):
            ask(api, "DELETE", f"/api/v1/{path}")
    ask(api, "POST", "/api/v1/services", {"name": "weather", "source": {"kind": "external", "url": url}})
    # It answers when the agent does.
    ask(api, "POST", "/api/v1/services/weather/start")
    rule = {"name": "mobile", "conditions": [{"field": "user_agent", "operator": "contains", "value": "Mobile"}]}
    ask(api, "POST", "/api/v1/routing/rules", rule)


@contextlib.contextmanager
def running(command, **options):
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cases(name, schemathesis, api, folder, examples, more):
    """One run; returns how many cases there were, and whether all went well."""
    command = [schemathesis, "--config-file", folder / f"{name}.toml", "run", f"{api}/openapi.json", *CHECKS,
               "--phases", "examples,coverage,fuzzing,stateful", "--max-examples", str(examples), "--continue-on-failure",
               "--suppress-health-check", "all", "--request-timeout", "120", "--no-color", *more]
    done = subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    found = re.search(r"(\d+) generated", done.stdout)
    count = int(found.group(1)) if found else 0
    if done.returncode != 0 or count == 0:
        say(done.stdout)
    say(f"{name}: {count} cases, {'0 failures' if done.returncode == 0 else 'failures, above'}")
    return count, done.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", default="target/release/myagent-manager")
    parser.add_argument("--agent", default="target/release/myagent-fake-agent", help="a command agent, run as an external one")
    parser.add_argument("--schemathesis", default="target/python/bin/schemathesis")
    parser.add_argument("--examples", type=int, default=30, help="of each operation and phase")
    parser.add_argument("--same", action="store_true", help="the same cases each time")
    parser.add_argument("--least", type=int, default=0, help="fail with fewer cases than this")
    options = parser.parse_args()
    program, agent, schemathesis = (str(pathlib.Path(path).absolute())
                                    for path in (options.program, options.agent, options.schemathesis))
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = {**os.environ, "MYAGENT_DATA_DIR": str(folder / "data"), "XDG_RUNTIME_DIR": str(folder)}
        log = stack.enter_context(open(folder / "manager.out", "w+"))
        manager = stack.enter_context(running([program, "api", "--port", "0", "--allow-sources", "external"],
                                              env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=folder))
        said = lambda: re.search(r"http://(127\.0\.0\.1:\d+)", (folder / "manager.out").read_text())
        api = "http://" + wait_for("the address of the API", said).group(1)
        port = free_port()
        stack.enter_context(running([agent], env={**environment, "PORT": str(port), "HOST": "127.0.0.1"}))
        # Followed logs have no end.
        logs = '[[operations]]\ninclude-name = "GET /api/v1/services/{service}/logs"\nparameters = { follow = false }\n'
        (folder / "any.toml").write_text(logs)
        (folder / "known.toml").write_text('[parameters]\n"path.service" = "weather"\n"path.rule" = "mobile"\n\n' + logs)
        kept = [part for operation in KEPT for part in ("--exclude-operation-id", operation)]
        more = ["--generation-deterministic"] if options.same else []
        results = []
        for name, arguments in [("any", more), ("known", more + kept)]:
            be_there(api, f"ws://127.0.0.1:{port}/")
            results.append(cases(name, schemathesis, api, folder, options.examples, arguments))
        health = ask(api, "GET", "/health")
        if manager.poll() is not None or health["status"] != "ok":
            sys.exit(f"the manager is not well afterwards: {health}")
        # What panicked was answered, too; it is in the log.
        if "panicked" in (folder / "manager.out").read_text():
            say((folder / "manager.out").read_text())
            sys.exit("the manager has panicked")
    total = sum(count for count, _ in results)
    say(f"{total} cases")
    if total < options.least:
        sys.exit(f"fewer than {options.least} cases")
    if not all(ok for _, ok in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
