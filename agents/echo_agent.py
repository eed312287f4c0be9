"""Echoes, and shows everything that the context offers. What a message does:

    hello        streamed back, word by word
    /think       emits thinking, a tool call and its result
    /confirm     asks the client, and waits for its answer
    /history     what was said before in this session
    /slow        streams for a minute, until the client cancels
    /count       how many messages this agent has had; survives a new process through export_state and import_state
    /fail        raises an exception: the client gets agent.error, the session goes on

An event `user.ping_agent` is answered with `echo.pong`.
"""

import asyncio


class EchoAgent:
    name = "echo"

    def __init__(self, params):
        self.prefix = str(params.get("prefix", "echo: "))  # from the content of user.create_session
        self.count = 0

    async def astream(self, message, ctx):
        self.count += 1
        command = message.strip() if isinstance(message, str) else ""
        if command == "/think":
            ctx.emit("agent.thinking", "What could be meant?", {"step": 0})
            ctx.emit("agent.tool_call", "Counting", {"tool": "count", "args": {}, "status": "running"}, "step_0_count")
            await ctx.emit("agent.tool_result", str(self.count), {"tool": "count", "status": "success"}, "step_0_count")
            yield "thought"
        elif command == "/confirm":
            answer = await ctx.confirm("Shall I go on?", ["yes", "no"])
            yield f"you said {answer}"
        elif command == "/history":
            for entry in ctx.history:
                yield f"{entry['role']}: {entry['content']}\n"
        elif command == "/slow":
            for second in range(60):
                if ctx.cancelled:
                    return
                yield f"{second} "
                await asyncio.sleep(1)
        elif command == "/count":
            yield f"{self.count} messages in session {ctx.session_id}"
        elif command == "/fail":
            raise ValueError("asked to fail")
        else:
            yield self.prefix
            for number, word in enumerate(str(message).split(" ")):
                yield word if number == 0 else f" {word}"

    async def on_event(self, event, ctx):
        """A user.* event that the protocol does not know."""
        if event["event"] != "user.ping_agent":
            raise ValueError(f"unknown event {event['event']}")
        ctx.emit("echo.pong", event.get("content"))

    def export_state(self):
        """After each turn: what a new process needs to go on."""
        return {"count": self.count}

    def import_state(self, state):
        self.count = state["count"]


def create_agent(params):
    """Called once per session, so that each has its own count."""
    return EchoAgent(params)
