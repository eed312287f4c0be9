#!/usr/bin/env python3
"""Follows what happens to the fleet and prints it, whatever happens to the connection: `watch.py [KIND…]`, where a KIND is one of an
event (`instance.error`) or the beginning of several (`instance.`). Needs nothing but the standard library.

It comes back with `Last-Event-ID`, so that no event is missed and none is printed twice. Ctrl-C ends it; `--count N` after N events.
"""

import argparse
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

API = os.environ.get("MYAGENT_API", "http://127.0.0.1:8080")
# The server says something at least every 15 seconds, if only a comment.
SILENCE = 40
LONGEST_PAUSE = 30


def follow(query, last_id):
    """Yields the events of one connection, until it ends."""
    headers = {"Accept": "text/event-stream"}
    if last_id is not None:
        headers["Last-Event-ID"] = str(last_id)
    request = urllib.request.Request(f"{API}/api/v1/events?{query}", headers=headers)
    with urllib.request.urlopen(request, timeout=SILENCE) as answer:
        data = []
        for line in answer:
            line = line.decode().rstrip("\r\n")
            name, _, value = line.partition(":")
            if name == "data":
                data.append(value.removeprefix(" "))
            elif not line and data:
                yield json.loads("\n".join(data))
                data = []


def main():
    parser = argparse.ArgumentParser(description="Prints what happens to the fleet.")
    parser.add_argument("kind", nargs="*", help="instance.error, or instance. for all that begin so")
    parser.add_argument("--after", type=int, metavar="ID", help="begin after the event of this id, not with the next one")
    parser.add_argument("--count", type=int, default=0, metavar="N", help="end after N events")
    arguments = parser.parse_args()

    query = urllib.parse.urlencode({"kind": ",".join(arguments.kind)} if arguments.kind else {})
    last_id, printed, pause = arguments.after, 0, 1
    while True:
        try:
            for event in follow(query, last_id):
                subject = event["instance"] or event["service"] or "-"
                print(event["at"], event["kind"], subject, event["why"], f"(by {event['who']})", flush=True)
                last_id, printed, pause = event["id"], printed + 1, 1
                if printed == arguments.count:
                    return 0
            why = "the manager closed the stream"
        except urllib.error.HTTPError as error:
            # A mistake of ours does not get better by asking again.
            if error.code < 500:
                print(f"refused: {error.read().decode()}", file=sys.stderr)
                return 1
            why = str(error)
        except (OSError, http.client.HTTPException) as error:
            why = str(error)
        print(f"{why}; again in {pause} s", file=sys.stderr)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(0)
