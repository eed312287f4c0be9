#!/usr/bin/env python3
"""A chat in the terminal that survives its network. Needs `websockets` (requirements.txt).

With messages it sends them one after the other and ends; without, it reads them from the terminal. Ctrl-C cancels an
answer, or ends the chat.
Exit code 0: every message was answered; 1: one was not; 3: the session is lost.
"""

import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import signal
import sys

from myagent_client import ClientError, MessageUnknown, SessionLost, connect


class Screen:
    """Prints events: as a person reads them, or each as a line of JSON."""

    def __init__(self, as_json):
        self.as_json = as_json
        self.streamed = False

    def show(self, event):
        if self.as_json:
            print(json.dumps(event), flush=True)
            return
        name, content = event["event"], event.get("content")
        if (event.get("metadata") or {}).get("turn_restarted"):
            print("\n(from the start:)")
        if name == "agent.partial_answer":
            self.streamed = True
            print(content, end="", flush=True)
        elif name == "agent.final_answer":
            # An agent that answers all at once says nothing before its final answer.
            print("" if self.streamed else content)
            self.streamed = False
        elif name in ("agent.thinking", "agent.tool_call", "agent.tool_result", "system.notice"):
            print(f"({content})")
        elif name in ("agent.error", "agent.interrupted", "system.error"):
            print(f"\n! {content}")

    def status(self, status, why):
        if status == "reconnecting":
            print(f" [{why}; coming back] ", end="", file=sys.stderr, flush=True)


async def typed(prompt):
    """A line from the terminal; nothing at its end."""
    print(prompt, end="", file=sys.stderr, flush=True)
    line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    return line.rstrip("\n") if line else None


async def answer(session, events, screen, keep):
    """Shows an answer to its end; whether it was one."""
    event = None
    async for event in events:
        screen.show(event)
        keep()
        if event["event"] == "agent.user_confirm":
            options = (event.get("metadata") or {}).get("options")
            await session.respond(event["step_id"], await typed(f"{event['content']} {options or ''} "))
    return event is not None and event["event"] == "agent.final_answer"


async def chat(arguments, screen):
    kept = pathlib.Path(arguments.state) if arguments.state else None
    state = json.loads(kept.read_text()) if kept and kept.exists() else None
    session = await connect(arguments.url, state=state, resend=arguments.resend, on_status=screen.status)

    def keep():
        if kept:
            fresh = kept.with_suffix(".new")
            fresh.write_text(json.dumps(session.state))
            fresh.replace(kept)

    keep()
    loop, well = asyncio.get_running_loop(), True
    tasks = set()  # the loop itself would forget them

    def cancel():
        if not session.answering:
            os._exit(130)  # A thread waits for the terminal, and would keep the process.
        tasks.add(loop.create_task(session.cancel()))

    loop.add_signal_handler(signal.SIGINT, cancel)
    async with session:
        if state:
            await answer(session, session.rest(), screen, keep)
        messages = iter(arguments.message)
        while True:
            message = next(messages, None) if arguments.message else await typed("> ")
            if message is None:
                return 0 if well else 1
            if message.strip():
                try:
                    well = await answer(session, session.ask(message), screen, keep) and well
                except MessageUnknown as unknown:
                    screen.show({"event": "agent.error", "content": str(unknown), "metadata": {"code": unknown.code}})
                    well = False


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog=__doc__.split("\n\n")[1])
    parser.add_argument("url", help="ws://HOST:PORT/s/SERVICE")
    parser.add_argument("message", nargs="*")
    parser.add_argument("--state", metavar="FILE", help="where the session is kept; if the file is there, it goes on")
    parser.add_argument("--resend", choices=("never", "unreceived", "always"), default="never")
    parser.add_argument("--json", action="store_true", help="print each event as a line of JSON")
    arguments = parser.parse_intermixed_args()
    screen = Screen(arguments.json)
    try:
        return asyncio.run(chat(arguments, screen))
    except ClientError as error:
        screen.show({"event": "agent.error", "content": str(error), "metadata": {"code": error.code}})
        return 3 if isinstance(error, SessionLost) else 1


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
