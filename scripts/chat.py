#!/usr/bin/env python3
"""A client of an agent in one file, with nothing but the standard library.

usage: chat.py ws://HOST:PORT/PATH MESSAGE... [--pause SECONDS MESSAGE...]

Opens a session, sends the messages one after the other, and prints what comes until each has its answer.
"""

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
            sys.exit(f"chat: refused: {status}")
        while self.stream.readline().strip():
            pass

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
                sys.exit("chat: the connection ended")
            opcode, size = head[0] & 0x0F, head[1] & 0x7F
            if size > 125:
                size = int.from_bytes(self.stream.read(2 if size == 126 else 8), "big")
            payload = self.stream.read(size)
            if opcode == 8:
                code = int.from_bytes(payload[:2], "big")
                sys.exit(f"chat: closed with {code} {payload[2:].decode(errors='replace')}")
            elif opcode == 9:
                self.send(payload, 10)
            elif opcode in (0, 1, 2):
                message += payload
                if head[0] & 0x80:
                    return message.decode()


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    ws = Socket(sys.argv[1])

    def say(event):
        ws.send(json.dumps(event).encode())

    def until(*names):
        while True:
            event = json.loads(ws.receive())
            if event["event"] == "agent.partial_answer":
                print(event["content"], end="", flush=True)
            elif event["event"] in names:
                return event

    say({"event": "user.create_session"})
    session = until("agent.session_created", "system.error", "agent.error").get("session_id")
    if not session:
        sys.exit("chat: no session was created")
    arguments = sys.argv[2:]
    while arguments:
        text = arguments.pop(0)
        if text == "--pause":
            time.sleep(float(arguments.pop(0)))
            continue
        print(f"> {text}")
        say({"event": "user.message", "session_id": session, "content": text})
        event = until("agent.final_answer", "agent.error", "system.error")
        print(f"\n< {event['content']}", flush=True)


if __name__ == "__main__":
    main()
