"""A stand-in for a model: a local server that speaks the streaming chat API of OpenAI, so that an agent can be built, tried and
tested without a key and without a network. It needs nothing but Python.

    python3 agents/stand_in/openai_server.py --port 8010
    export OPENAI_BASE_URL=http://127.0.0.1:8010/v1

It thinks nothing; what it answers, the last message of the user says:

    anything else              "You said: …", word by word
    /call NAME {"a": 1}        calls a function; one call for each such line. With the results, it says what they were
    /messages                  what it was sent: each role, and how its text begins
    /slow                      a word each --delay seconds, for ever
    /wait                      accepts the question and never begins to answer
    /error 429                 this HTTP status, with an error in the words of the API
    /broken                    an error in the middle of the answer
    /cut                       the connection breaks in the middle of the answer

With --key, who comes with another one gets 401. On stdout is a line of JSON for each thing that happens: `listening` with
its url, `request`, and then `answered`, `failed`, `cut` or, if the client left before the end, `left`.
"""

import argparse
import json
import select
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ERRORS = {
    400: ("invalid_request_error", "The request is not valid."),
    401: ("invalid_request_error", "Incorrect API key provided: {key}."),
    404: ("invalid_request_error", "The model does not exist."),
    429: ("rate_limit_error", "Rate limit reached, please try again in 20s."),
    500: ("server_error", "The server had an error while processing your request."),
    503: ("server_error", "The model is overloaded."),
}
MAX_BODY = 8 * 1024 * 1024
PRINTING = threading.Lock()


def tell(event, **fields):
    with PRINTING:
        print(json.dumps({"event": event, **fields}), flush=True)


class Left(Exception):
    """The client is gone."""


class Cut(Exception):
    """The connection is to break now."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.endswith("/models"):
            self.whole(200, {"object": "list", "data": [{"id": "stand-in", "object": "model"}]})
        else:
            self.whole(404, {"error": {"type": "invalid_request_error", "message": f"There is no {self.path}."}})

    def do_POST(self):
        try:
            body = json.loads(self.rfile.read(min(int(self.headers["Content-Length"]), MAX_BODY)))
            messages = body["messages"]
            command, _, rest = text_of(messages[-1]).strip().partition(" ")
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            return self.fail(400, f"The request is not valid: {error!r}")
        tell("request", path=self.path, model=body.get("model"), messages=len(messages))
        key = (self.headers["Authorization"] or "").replace("Bearer ", "", 1)
        if not self.path.endswith("/chat/completions"):
            return self.fail(404, f"There is no {self.path}.")
        if self.server.key is not None and key != self.server.key:
            return self.fail(401)
        if command == "/error":
            return self.fail(int(rest) if rest.strip().isdigit() else 500)
        try:
            if body.get("stream"):
                self.stream(command, messages)
            else:
                call_list = calls(messages)
                content = None if call_list else answer(messages)
                message = {"role": "assistant", "content": content, **({"tool_calls": call_list} if call_list else {})}
                choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if call_list else "stop"}
                self.whole(200, {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice]})
            tell("answered")
        except Cut:
            self.close_connection = True  # the end of the chunks never comes
            tell("cut")
        except (Left, OSError):
            self.close_connection = True
            tell("left")

    # --- Answers -----------------------------------------------------------------------------------------------------

    def stream(self, command, messages):
        if command == "/wait":
            while True:
                self.pause(60)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.delta({"role": "assistant", "content": ""})
        if command == "/slow":
            number = 0
            while True:
                number += 1
                self.delta({"content": f"{number} "})
                self.pause(self.server.delay)
        if command in ("/cut", "/broken"):
            self.delta({"content": "This answer will "})
            if command == "/broken":
                self.data({"error": {"type": "server_error", "message": "The model stumbled."}})
            raise Cut
        call_list = calls(messages)
        for index, call in enumerate(call_list):
            arguments = call["function"]["arguments"]
            name = {"name": call["function"]["name"], "arguments": ""}
            self.delta({"tool_calls": [{**call, "index": index, "function": name}]})
            for at in range(0, len(arguments), 5):
                part = {"arguments": arguments[at : at + 5]}
                self.delta({"tool_calls": [{"index": index, "function": part}]})
        if not call_list:
            for number, word in enumerate(answer(messages).split(" ")):
                self.delta({"content": word if number == 0 else " " + word})
                self.pause(self.server.delay)
        self.delta({}, "tool_calls" if call_list else "stop")
        self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")

    def delta(self, delta, finish_reason=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        self.data({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "stand-in", "choices": [choice]})

    def data(self, value):
        self.chunk(f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode())

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def pause(self, seconds):
        """Waits; notices if the client leaves meanwhile."""
        if select.select([self.connection], [], [], seconds)[0] and not self.connection.recv(1, socket.MSG_PEEK):
            raise Left

    def fail(self, status, message=None):
        kind, usual = ERRORS.get(status, ERRORS[500])
        key = (self.headers["Authorization"] or "").replace("Bearer ", "", 1)
        # Some servers repeat the key that they refuse: what shows errors to people must not trust them.
        self.whole(status, {"error": {"type": kind, "message": message or usual.format(key=key)}})
        tell("failed", status=status)

    def whole(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass  # `tell` says more


# --- What it says ----------------------------------------------------------------------------------------------------


def text_of(message):
    """The text of a message, whose content may also be a list of parts."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def calls(messages):
    """The function calls that the user asks for."""
    if messages[-1]["role"] != "user":
        return []
    lines = [line[6:].partition(" ") for line in text_of(messages[-1]).split("\n") if line.startswith("/call ")]
    return [
        {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments or "{}"}}
        for number, (name, _, arguments) in enumerate(lines)
    ]


def answer(messages):
    last = messages[-1]
    if last["role"] == "tool":
        asked = max(at for at, message in enumerate(messages) if message["role"] == "assistant")
        return "The tools said: " + "; ".join(text_of(message) for message in messages[asked + 1 :])
    if text_of(last).strip() == "/messages":
        return " | ".join(f"{message['role']}: {text_of(message)[:60]}" for message in messages)
    return f"You said: {text_of(last)}"


class Server(ThreadingHTTPServer):
    daemon_threads = True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 (the default): any free one")
    parser.add_argument("--delay", type=float, default=0.03, help="seconds between two words")
    parser.add_argument("--key", help="the only API key that it takes; default: any, or none")
    options = parser.parse_args()
    server = Server(("127.0.0.1", options.port), Handler)
    server.key, server.delay = options.key, options.delay
    tell("listening", url=f"http://127.0.0.1:{server.server_address[1]}/v1")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
