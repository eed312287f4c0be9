#!/usr/bin/env python3
"""A client of an agent in one file, with nothing but the standard library.

Opens a session, sends the messages one after the other, and prints the answers as they come. Exit code 0: every message
was answered; 1: one was not.
"""

import argparse
import base64
import json
import os
import socket
import struct
import sys
import time
from urllib.parse import urlsplit


class Socket:
    """A WebSocket: text frames, pings answered, nothing more."""

    def __init__(self, url):
        url = urlsplit(url)
        path = (url.path or "/") + ("?" + url.query if url.query else "")
        self.socket = socket.create_connection((url.hostname, url.port or 80), timeout=60)
        key = base64.b64encode(os.urandom(16)).decode()
        head = (
            f"GET {path} HTTP/1.1\r\nHost: {url.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self.socket.sendall(head.encode())
        self.stream = self.socket.makefile("rb")
        status = self.stream.readline().decode().strip()
        if " 101 " not in status + " ":
            raise ConnectionError(f"refused: {status}")
        while self.stream.readline().strip():
            pass

    def close(self):
        """As if the network were gone: without a word. The stream holds the socket too."""
        self.stream.close()
        self.socket.close()

    def send(self, payload, opcode=1):
        mask = os.urandom(4)
        size = len(payload)
        if size < 126:
            length = bytes([0x80 | size])
        elif size < 65536:
            length = bytes([0x80 | 126]) + struct.pack(">H", size)
        else:
            length = bytes([0x80 | 127]) + struct.pack(">Q", size)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        self.socket.sendall(bytes([0x80 | opcode]) + length + mask + masked)

    def receive(self):
        """The next message; exits when the connection ends."""
        message = b""
        while True:
            head = self.stream.read(2)
            if len(head) < 2:
                raise ConnectionError("the connection ended")
            opcode, size = head[0] & 0x0F, head[1] & 0x7F
            if size > 125:
                size = int.from_bytes(self.stream.read(2 if size == 126 else 8), "big")
            payload = self.stream.read(size)
            if opcode == 8:
                code = int.from_bytes(payload[:2], "big")
                raise ConnectionError(f"closed with {code} {payload[2:].decode(errors='replace')}")
            elif opcode == 9:
                self.send(payload, 10)
            elif opcode in (0, 1, 2):
                message += payload
                if head[0] & 0x80:
                    return message.decode()


class Conversation:
    """A session with an agent: over one connection, or over several if it breaks."""

    def __init__(self, url):
        self.url = url
        self.session = None
        self.last_seq = 0
        self.well = True
        self.streamed = False
        self.connect()
        self.say({"event": "user.create_session"})
        event = self.until("agent.session_created", "system.error", "agent.error")
        self.session = event.get("session_id")
        if not self.session:
            sys.exit(f"chat: no session: {error(event)}")

    def connect(self):
        self.ws = Socket(self.url)

    def say(self, event):
        if self.session:
            event["session_id"] = self.session
        self.ws.send(json.dumps(event).encode())

    def until(self, *names, seconds=None):
        """Prints what is said until one of these events; that event, or nothing if it takes longer than `seconds`."""
        deadline = time.monotonic() + seconds if seconds else None
        while deadline is None or time.monotonic() < deadline:
            event = json.loads(self.ws.receive())
            self.last_seq = event.get("seq", self.last_seq)
            if event["event"] == "agent.partial_answer":
                self.streamed = True
                print(event["content"], end="", flush=True)
            elif event["event"] in names:
                return event
        return None

    def ask(self, text, leave_after=None, leave_for=0.0):
        """Sends a message and prints its answer as it comes."""
        print(f"> {text}")
        self.streamed = False
        self.say({"event": "user.message", "content": text})
        ends = ("agent.final_answer", "agent.error", "system.error")
        event = self.until(*ends, seconds=leave_after)
        if event is None:
            self.ws.close()
            print(f" [gone for {leave_for:g} s] ", end="", flush=True)
            time.sleep(leave_for)
            self.connect()
            self.say({"event": "user.reconnect", "last_seq": self.last_seq})
            event = self.until(*ends, "error.recovery_failed")
        # An agent that answers all at once says nothing before its final answer.
        print(event["content"] if event["event"] == "agent.final_answer" and not self.streamed else "")
        if event["event"] != "agent.final_answer":
            self.well = False
            print(f"! {error(event)}", flush=True)


def error(event):
    code = (event.get("metadata") or {}).get("code")
    return f"{code}: {event['content']}" if code else event["content"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog=__doc__.split("\n\n")[1])
    parser.add_argument("url", help="ws://HOST:PORT/PATH")
    parser.add_argument("message", nargs="+")
    leave_help = "cut the connection one second into each answer, and come back after this"
    parser.add_argument("--leave", type=float, metavar="SECONDS", help=leave_help)
    arguments = parser.parse_args()
    conversation = Conversation(arguments.url)
    for message in arguments.message:
        if arguments.leave is None:
            conversation.ask(message)
        else:
            conversation.ask(message, 1.0, arguments.leave)
    conversation.ws.send(struct.pack(">H", 1000), 8)
    return 0 if conversation.well else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ConnectionError as failed:
        sys.exit(f"chat: {failed}")
    except KeyboardInterrupt:
        sys.exit(130)
