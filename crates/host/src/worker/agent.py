"""The agent file: how an agent is found in it, made, and called."""

import asyncio
import importlib.machinery
import importlib.util
import inspect
import os
import sys
from time import monotonic

BURST = 32  # pieces of an answer for which the loop need not turn
BURST_TIME = 0.005  # seconds for which it need not, from one piece to the next
METHODS = ("astream", "stream", "arun", "run")
NO_AGENT = "no agent in it: define agent, create_agent() or agent_factory()"
NO_METHOD = "the agent has none of astream(message), stream(message), arun(message) and run(message), and is no function"


class LoadError(Exception):
    """The agent file is not what it should be."""


def accepts(function, count, name=None):
    """Whether it takes a `count`-th positional argument; one with a default must be called `name`."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    usable = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(usable) < count:
        return False
    last = usable[count - 1]
    return name is None or last.default is last.empty or last.name in (name, "context")


def can_take(function, count):
    """Whether it can be called with so many positional arguments, as far as it says."""
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        return True
    return True


def name_of(agent):
    """Its own name, that of the function, or that of its class."""
    function = getattr(agent, "func", agent)  # of a functools.partial
    name = getattr(agent, "name", None) or getattr(function, "__name__", None) or type(agent).__name__
    return "agent" if name == "<lambda>" else str(name)


class Caller:
    """An agent, an object or a function, and how it is called."""

    def __init__(self, agent, shared):
        if inspect.isclass(agent):
            agent = agent()
        self.agent, self.shared = agent, shared
        self.name = name_of(agent)
        method = next((name for name in METHODS if callable(getattr(agent, name, None))), None)
        if method is None and not callable(agent):
            raise LoadError(NO_METHOD)
        self.method = getattr(agent, method) if method else agent
        self.wants_context = accepts(self.method, 2, "ctx")
        if not can_take(self.method, 2 if self.wants_context else 1):
            raise LoadError("%s() cannot be called with a message" % (method or self.name))
        self.streams = method in ("astream", "stream")
        self.is_async = method in ("astream", "arun") or any(
            inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
            for function in (self.method, getattr(self.method, "__call__", None)))
        self.on_event = self.hook("on_event")
        self.export_state, self.import_state = self.hook("export_state"), self.hook("import_state")
        self.used = False  # a shared agent's state is imported only into a fresh process

    def hook(self, name):
        found = getattr(self.agent, name, None)
        return found if callable(found) else None

    async def call(self, worker, function, *arguments):
        """Calls a hook: an async one on the loop, another in a thread."""
        if inspect.iscoroutinefunction(function):
            return await function(*arguments)
        result = await worker.hook_threads.run(function, *arguments)
        return await result if inspect.isawaitable(result) else result

    async def run(self, worker, context, content):
        """One turn: the whole answer as text. Without an answer if the turn may not begin; then context._begun is false."""
        arguments = (content, context) if self.wants_context else (content,)
        if not self.is_async:
            result = await worker.threads.run(self.in_thread, context, arguments)
        elif context._begin():
            result = self.method(*arguments)
        else:
            return ""
        if inspect.isawaitable(result):
            result = await result
        if hasattr(result, "__aiter__"):
            await self.follow(context, result)
            return "".join(context._parts)
        if self.is_pieces(result):
            await worker.threads.run(self.pull, context, result)
            return "".join(context._parts)
        return "" if result is None else result if isinstance(result, str) else str(result)

    def is_pieces(self, result):
        """A generator; from a method that streams also a list or the like."""
        return hasattr(result, "__next__") or (
            self.streams and hasattr(result, "__iter__") and not isinstance(result, (str, bytes, dict)))

    async def follow(self, context, pieces):
        session, selector, count = context._session, context._session.worker.channel.selector, 0
        try:
            async for piece in pieces:
                if context.cancelled:
                    break
                context._piece(piece)
                count += 1
                if session.credit <= 0:
                    await session.room()
                elif count % BURST == 1 or monotonic() - selector.woke > BURST_TIME:
                    # An agent that never waits must not keep the others from running, nor its own pieces from leaving.
                    await asyncio.sleep(0)
        finally:
            # Its own clean-up is part of the turn; an end by itself has done it already.
            if hasattr(pieces, "aclose"):
                await pieces.aclose()

    def in_thread(self, context, arguments):
        if not context._begin():
            return ""
        result = self.method(*arguments)
        return self.pull(context, result) if self.is_pieces(result) else result

    def pull(self, context, pieces):
        session = context._session
        for piece in pieces:
            if context.cancelled:
                getattr(pieces, "close", lambda: None)()
                break
            context._piece(piece)
            if session.credit <= 0:
                session.wait_for_room(context)
        return "".join(context._parts)


class Loader:
    """Finds the agent in its file."""

    def __init__(self, path, worker):
        self.path, self.worker = path, worker
        self.factory = None
        self.takes_params = False
        self.spare = None  # made at the start, to see that it can be made; the first session gets it
        self.shared = None

    def load(self):
        module = self.module()
        create = getattr(module, "create_agent", None)
        if callable(create):
            self.factory, self.takes_params = create, accepts(create, 1)
            self.spare = self.worker.loop.run_until_complete(self.make(None))
        elif getattr(module, "agent", None) is not None:
            self.shared = Caller(module.agent, True)
        elif callable(getattr(module, "agent_factory", None)):
            agent = module.agent_factory()
            if inspect.isawaitable(agent):
                agent = self.worker.loop.run_until_complete(agent)
            self.shared = Caller(agent, True)
        else:
            raise LoadError(NO_AGENT)
        return self.shared or self.spare

    def module(self):
        folder, file = os.path.split(self.path)
        os.chdir(folder)
        if sys.path and sys.path[0] == "":
            sys.path[0] = folder
        else:
            sys.path.insert(0, folder)
        sys.argv = [self.path]
        name = os.path.splitext(file)[0]
        if not name.isidentifier() or name in sys.modules:
            name = "agent"
        loader = importlib.machinery.SourceFileLoader(name, self.path)
        module = importlib.util.module_from_spec(importlib.util.spec_from_file_location(name, self.path, loader=loader))
        sys.modules[name] = module
        loader.exec_module(module)
        return module

    async def make(self, params):
        arguments = (params if params is not None else {},) if self.takes_params else ()
        if self.spare is None or self.spare.is_async or inspect.iscoroutinefunction(self.factory):
            agent = self.factory(*arguments)
        else:
            agent = await self.worker.hook_threads.run(self.factory, *arguments)
        return Caller(await agent if inspect.isawaitable(agent) else agent, False)

    async def caller(self, params):
        """The agent of a new session."""
        if self.shared is not None:
            return self.shared
        if not self.spare.used and not (self.takes_params and params is not None):
            self.spare.used = True
            return self.spare
        return await self.make(params)
