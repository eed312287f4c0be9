"""An agent in front of any model that speaks the chat API of OpenAI: OpenAI itself, or vLLM, Ollama, llama.cpp, a gateway.
It needs nothing but Python. The answer is streamed, and the model may call the functions marked with @tool.

    OPENAI_API_KEY=… myagent-manager register chat agents/openai_chat_agent.py --secret OPENAI_API_KEY --auto-start

    OPENAI_API_KEY    needed by most; not by a model on your own machine
    OPENAI_BASE_URL   default: https://api.openai.com/v1
    OPENAI_MODEL      default: gpt-4o-mini

Without a key: `agents/stand_in/openai_server.py` is a local server that answers in the place of a model.
"""

import asyncio
import contextlib
import inspect
import json
import os
import ssl
from urllib.parse import urlsplit

BASE_URL = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1").rstrip("/")
MODEL = os.environ.get("OPENAI_MODEL", "gpt-4o-mini")
KEY = os.environ.get("OPENAI_API_KEY", "").strip()
TLS = ssl.create_default_context()

INSTRUCTIONS = "You are a helpful assistant. Answer briefly."
MAX_ROUNDS = 8  # how often the model may call functions before it must have answered
PATIENCE = 120  # seconds without a byte from the model

# --- Functions that the model may call -------------------------------------------------------------------------------

TOOLS = {}
KINDS = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object"}


def tool(function):
    """Lets the model call a function. Its name, docstring and parameters are what the model knows about it."""
    parameters = inspect.signature(function).parameters.values()
    schema = {
        "type": "object",
        "properties": {p.name: {"type": KINDS.get(p.annotation, "string")} for p in parameters},
        "required": [p.name for p in parameters if p.default is p.empty],
    }
    description = {"name": function.__name__, "description": inspect.getdoc(function) or "", "parameters": schema}
    TOOLS[function.__name__] = (function, {"type": "function", "function": description})
    return function


@tool
def get_weather(city: str):
    """The weather in a city, now."""
    weather = {"paris": "sunny, 25 °C", "tokyo": "light rain, 18 °C", "cairo": "sunny, 31 °C"}
    return f"{city}: {weather[city.lower()]}"  # what a function raises is told to the model


@tool
async def add(a: float, b: float):
    """The sum of two numbers."""
    return a + b


# --- The agent -------------------------------------------------------------------------------------------------------


class ChatAgent:
    name = "chat"

    async def astream(self, message, ctx):
        text = message if isinstance(message, str) else json.dumps(message)
        system = {"role": "system", "content": INSTRUCTIONS}
        messages = [system, *ctx.history, {"role": "user", "content": text}]
        calls_made = 0
        for _ in range(MAX_ROUNDS):
            said, calls = "", {}
            # A cancelled turn leaves this block, wherever it is: that closes the connection, and the model stops.
            async with ask_model(messages) as deltas:
                async for delta in deltas:
                    collect(calls, delta.get("tool_calls") or [])
                    if delta.get("content"):
                        said += delta["content"]
                        yield delta["content"]
            if not calls:
                return
            messages.append({"role": "assistant", "content": said or None, "tool_calls": list(calls.values())})
            for call in calls.values():
                result = await self.call(call["function"], f"step_{calls_made}", ctx)
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
                calls_made += 1
        raise ModelError(f"no answer after {MAX_ROUNDS} rounds of function calls")

    async def call(self, call, step, ctx):
        """One function call. The client sees it; the model gets what it returns, or why it failed."""
        name, step_id = call["name"], f"{step}_{call['name']}"
        try:
            arguments, problem = json.loads(call["arguments"] or "{}"), None
        except ValueError:
            arguments, problem = {}, f"the arguments are not JSON: {call['arguments']}"
        running = {"tool": name, "args": arguments, "status": "running"}
        await ctx.emit("agent.tool_call", f"Calling {name}", running, step_id)
        try:
            if problem or name not in TOOLS:
                raise ValueError(problem or f"there is no function {name}")
            function = TOOLS[name][0]
            if inspect.iscoroutinefunction(function):
                result = await function(**arguments)
            else:
                result = await asyncio.to_thread(function, **arguments)
            result = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)
            done = {"tool": name, "status": "success", "error": None}
        except Exception as error:  # whatever the function raises: the model may find another way
            result = f"{type(error).__name__}: {error}"
            done = {"tool": name, "status": "error", "error": result}
        await ctx.emit("agent.tool_result", result, done, step_id)
        return result


agent = ChatAgent()


def collect(calls, pieces):
    """Function calls come in pieces: first the name, then the arguments bit by bit."""
    for piece in pieces:
        empty = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        call, function = calls.setdefault(piece.get("index", 0), empty), piece.get("function") or {}
        call["id"] = piece.get("id") or call["id"]
        call["function"]["name"] += function.get("name") or ""
        call["function"]["arguments"] += function.get("arguments") or ""


# --- The model, over HTTP --------------------------------------------------------------------------------------------


class ModelError(Exception):
    """What the client sees as agent.error. Some servers repeat the key that they refuse; it must not get further."""

    def __init__(self, text):
        super().__init__(text.replace(KEY, "***") if KEY else text)


@contextlib.asynccontextmanager
async def ask_model(messages):
    """Sends the conversation; gives the deltas of the answer as they come. At its end the connection is closed."""
    request = {"model": MODEL, "messages": messages, "stream": True}
    if TOOLS:
        request["tools"] = [description for _, description in TOOLS.values()]
    body = json.dumps(request).encode()
    url = urlsplit(BASE_URL + "/chat/completions")
    secure = url.scheme == "https"
    head = [
        f"POST {url.path} HTTP/1.1",
        f"Host: {url.netloc.rpartition('@')[2]}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    if KEY:
        head.append(f"Authorization: Bearer {KEY}")
    writer = None
    try:
        port = url.port or (443 if secure else 80)
        reader, writer = await patiently(asyncio.open_connection(url.hostname, port, ssl=TLS if secure else None))
        writer.write("\r\n".join([*head, "", ""]).encode() + body)
        status, parts = await read_head(reader)
        if status != 200:
            raise ModelError(f"the model answered {status}: {await read_error(parts)}")
        yield read_deltas(parts)
    except EOFError:
        raise ModelError("the connection to the model broke") from None
    except OSError as error:
        raise ModelError(f"no answer from the model at {url.hostname}: {error}") from error
    except (ValueError, LookupError, asyncio.LimitOverrunError) as error:
        raise ModelError(f"what answers at {url.hostname} is no chat API: {error}") from error
    finally:
        if writer is not None:
            writer.close()


async def read_head(reader):
    """The status of the answer, and its body in parts."""
    lines = (await patiently(reader.readuntil(b"\r\n\r\n"))).decode("latin-1").split("\r\n")
    pairs = [line.partition(":") for line in lines[1:]]
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return int(lines[0].split(" ")[1]), read_body(reader, headers)


async def read_body(reader, headers):
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while True:
            size = int((await patiently(reader.readuntil(b"\r\n"))).split(b";")[0], 16)
            part = await patiently(reader.readexactly(size + 2))
            if size == 0:
                return
            yield part[:-2]
    elif "content-length" in headers:
        yield await patiently(reader.readexactly(int(headers["content-length"])))
    else:
        while True:
            part = await patiently(reader.read(65536))
            if not part:
                return
            yield part


async def read_deltas(parts):
    """Server-sent events: each line `data: …` is a piece of the answer, and the last one is `data: [DONE]`."""
    rest, finished = b"", False
    async for part in parts:
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            event = json.loads(data)
            if event.get("error"):
                raise ModelError(f"the model stopped: {error_text(event)}")
            for choice in event.get("choices") or []:
                finished = finished or bool(choice.get("finish_reason"))
                yield choice.get("delta") or {}
    if not finished:
        raise ModelError("the model's answer was cut off")


async def read_error(parts):
    body = b""
    async for part in parts:
        body += part
        if len(body) > 65536:
            break
    try:
        return error_text(json.loads(body))
    except (ValueError, AttributeError):  # a page of a gateway, perhaps
        return body[:200].decode(errors="replace").strip() or "no reason given"


def error_text(answer):
    error = answer.get("error", answer)
    return error.get("message") or json.dumps(error) if isinstance(error, dict) else str(error)


async def patiently(awaitable):
    try:
        return await asyncio.wait_for(awaitable, PATIENCE)
    except asyncio.TimeoutError:
        raise ModelError(f"the model said nothing for {PATIENCE} seconds") from None
