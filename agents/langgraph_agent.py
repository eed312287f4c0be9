"""A LangGraph agent: a model that may call tools, as a graph. Its answer is streamed, the client sees each tool call, and the whole
conversation, tool calls included, survives the death of the process.

    python3 -m venv .venv && .venv/bin/pip install langgraph     # beside your copy of this file; Python 3.10 or newer
    myagent-manager register graph langgraph_agent.py --auto-start

It runs without a key and without a network: `OfflineModel` plays the model. A real one goes into `make_model`; nothing else
changes. Your own graph goes into `make_graph`: any whose state has `messages`.
"""

import contextlib
import json
import time
from typing import Iterator

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.messages import messages_from_dict, messages_to_dict, trim_messages
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

# --- The model and its tools -----------------------------------------------------------------------------------------


def make_model():
    # For a real model, install its package beside langgraph (`pip install langchain-openai`), and write here instead:
    #
    #     from langchain_openai import ChatOpenAI
    #     return ChatOpenAI(model="gpt-4o-mini")  # its key is in the environment: register … --secret OPENAI_API_KEY
    return OfflineModel()


WEATHER = {"Cairo": "sunny, 31 °C", "Paris": "sunny, 25 °C", "Tokyo": "light rain, 18 °C"}


@tool
def get_weather(city: str) -> str:
    """The weather in a city, now."""
    return f"{city}: {WEATHER[city]}"


TOOLS = [get_weather]


class OfflineModel(GenericFakeChatModel):
    """LangChain's own fake model, which streams word by word like a real one. What it says is decided here."""

    messages: Iterator = iter(())

    def bind_tools(self, tools, **_):
        return self

    def _generate(self, messages, stop=None, run_manager=None, **_):
        asked = [message.text for message in messages if isinstance(message, HumanMessage)]
        results = [message.text for message in messages if isinstance(message, ToolMessage)]
        cities = [name for name in [*WEATHER, "Atlantis"] if name.lower() in asked[-1].lower()]
        if isinstance(messages[-1], ToolMessage):
            reply = AIMessage("I looked it up. " + ". ".join(results[-len(cities) :]) + ".")
        elif cities:
            calls = [self.call(f"{len(messages)}_{at}", at, city) for at, city in enumerate(cities)]
            reply = AIMessage("", additional_kwargs={"tool_calls": calls})
        else:
            known = f"So far you asked me {len(asked)} things and I looked up {len(results)}: "
            reply = AIMessage(known + "; ".join([*results, f"the last question was {asked[-1]!r}"]))
        return ChatResult(generations=[ChatGeneration(message=reply)])

    @staticmethod
    def call(call_id, index, city):
        function = {"name": "get_weather", "arguments": json.dumps({"city": city})}
        return {"id": call_id, "index": index, "type": "function", "function": function}

    def _stream(self, *arguments, **options):
        for chunk in super()._stream(*arguments, **options):
            time.sleep(0.02)
            yield chunk


# --- The graph -------------------------------------------------------------------------------------------------------


def make_graph():
    model = make_model().bind_tools(TOOLS)

    async def ask(state: MessagesState):
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("model", ask)
    graph.add_node("tools", ToolNode(TOOLS, handle_tool_errors=True))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile()


GRAPH = make_graph()  # once for all sessions: it holds nothing of them


# --- The agent -------------------------------------------------------------------------------------------------------


class GraphAgent:
    name = "graph"

    def __init__(self):
        self.messages = []  # of this session, up to its last complete turn

    async def astream(self, message, ctx):
        messages = [*self.messages, HumanMessage(str(message))]
        state = {"messages": messages}
        step_ids = {}
        run = GRAPH.astream(state, stream_mode=["messages", "values"])
        async with contextlib.aclosing(run):  # a cancelled turn ends the graph's run at once
            async for mode, data in run:
                if mode == "messages":  # a piece of a message, as the model says it
                    piece, _ = data
                    if isinstance(piece, AIMessageChunk) and piece.text:
                        yield str(piece.text)
                else:  # the whole state, after each step of the graph
                    for new in data["messages"][len(messages) :]:
                        await self.show(new, step_ids, ctx)
                    messages = data["messages"]
        self.messages = trim_messages(messages, max_tokens=200, token_counter=len, start_on="human")  # 200 messages

    async def show(self, message, step_ids, ctx):
        """Tells the client which tools are called, and what they gave."""
        for call in getattr(message, "tool_calls", []):
            step_id = step_ids[call["id"]] = f"step_{len(step_ids)}_{call['name']}"
            running = {"tool": call["name"], "args": call["args"], "status": "running"}
            await ctx.emit("agent.tool_call", f"Calling {call['name']}", running, step_id)
        if isinstance(message, ToolMessage):
            error = message.text if message.status == "error" else None
            result = {"tool": message.name, "status": message.status, "error": error}
            await ctx.emit("agent.tool_result", message.text, result, step_ids.get(message.tool_call_id))

    # `ctx.history` has the texts of the conversation. A graph wants more, its tool calls and their results, so the session
    # keeps its messages itself. What is exported here after each turn is given to the next process if this one dies. A turn
    # that was cancelled or failed leaves no trace: no model accepts a conversation that ends in the middle of a tool call.
    #
    # A graph with a lasting checkpointer (SQLite, Postgres) needs neither this nor `self.messages`: give it only the new
    # message, and {"configurable": {"thread_id": ctx.session_id}}.

    def export_state(self):
        return messages_to_dict(self.messages)

    def import_state(self, state):
        self.messages = messages_from_dict(state)


def create_agent():
    return GraphAgent()
