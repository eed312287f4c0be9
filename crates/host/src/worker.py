"""The worker: runs one agent file for the process that started it (docs/design/worker-protocol.md).

One asyncio loop talks JSON lines with the host over a socket; agents that are not async run in threads. It needs
nothing but the standard library of Python 3.9 or newer, and the agent may print as it likes: the socket is private.
"""

import asyncio
import json
import os
import re
import signal
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

from myagent_agent import LoadError, Loader, accepts
from myagent_channel import Channel, Selector, Threads, encode, encode_exactly, say, show, to_bytes
from myagent_session import Cancelled, Context, Session
from myagent_watch import Turns, Watchdog

PROTOCOL = 1
READ = 64 * 1024  # bytes that one read takes at most
MAX_THREADS = 64  # for turns of agents that are not async
MAX_HOOK_THREADS = 16  # for their other methods, and for create_agent
MAX_HISTORY = 200  # messages kept in ctx.history
MAX_EVENTS = 100  # events for on_event that are being handled at once, per session
MAX_STATE = 1024 * 1024  # bytes of an exported state that the host keeps
ADDRESS = re.compile(rb'\{"type":"(\w+)","session":(\d+)(?:,"turn":(\d+))?')


class Worker:
    """Takes the host's lines and does what they say."""

    def __init__(self, sock):
        sock.setblocking(False)
        os.set_inheritable(sock.fileno(), False)
        self.sock = sock
        selector = Selector()
        self.loop = asyncio.SelectorEventLoop(selector)
        asyncio.set_event_loop(self.loop)
        self.thread = threading.get_ident()
        self.channel = Channel(sock, self.loop, selector)
        self.buffer = memoryview(bytearray(READ))
        self.parse = json.JSONDecoder().scan_once
        self.threads = Threads(self.loop, "agent", MAX_THREADS)
        # Of their own, because a new session, or an event that a turn waits for, must not wait for that turn's thread.
        self.hook_threads = Threads(self.loop, "hook", MAX_HOOK_THREADS)
        # For asyncio.to_thread in agents that are async: by itself Python would have a handful on a small machine.
        self.loop.set_default_executor(ThreadPoolExecutor(MAX_THREADS, "to_thread"))
        self.loader = None
        self.sessions = {}
        self.turns = Turns(self)
        self.tail = b""
        self.ending = False
        signal.signal(signal.SIGTERM, self.ended)

    def ended(self, _signal, _frame):
        """TERM ends the process, through the agent's own clean-up; a second one at once."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.ending = True
        raise SystemExit(0)

    def tell(self, **fields):
        self.channel.send(to_bytes(encode(fields) + "\n"))

    def load(self, path):
        self.loader = Loader(path, self)
        try:
            caller = self.loader.load()
        except BaseException as error:  # SystemExit too: a file that ends the process is a file that cannot be loaded
            if self.ending:
                raise
            # A syntax error has its line in its own message, and a missing agent has no line.
            if not isinstance(error, (LoadError, SyntaxError)):
                show(error)
            message = str(error) if isinstance(error, LoadError) else say(error)
            for frame in reversed(traceback.extract_tb(error.__traceback__)):
                if frame.filename == path:
                    message += " (%s, line %d)" % (os.path.basename(path), frame.lineno)
                    break
            self.tell(type="load_failed", message=message)
            return False
        self.tell(type="ready", protocol=PROTOCOL, name=caller.name, python=sys.version.split()[0], pid=os.getpid(),
                  per_session=not caller.shared, context=caller.wants_context, on_event=caller.on_event is not None,
                  state=caller.export_state is not None and caller.import_state is not None, ended=True,
                  retry_safe=bool(getattr(caller.agent, "retry_safe", False)))
        return True

    def serve(self):
        self.loop.add_reader(self.sock, self.readable)
        Watchdog(self.loop, self.channel)
        try:
            self.loop.run_forever()
        finally:
            self.loop.remove_reader(self.sock)
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            if left:
                self.loop.run_until_complete(asyncio.wait(left, timeout=0.5))

    def readable(self):
        try:
            count = self.sock.recv_into(self.buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            count = 0
        if not count:
            self.loop.stop()
            return
        lines = (self.tail + self.buffer[:count]).split(b"\n")
        self.tail = lines.pop()
        for line in lines:
            try:
                message, _ = self.parse(line.decode(), 0)
                getattr(self, "on_" + message["type"])(message)
            except Exception as error:  # one line that cannot be handled must not end all conversations
                show(error)
                self.refuse(line, error)

    def refuse(self, line, error):
        found = ADDRESS.match(line)
        kind, number = (found[1], int(found[2])) if found else (b"", 0)
        session = self.sessions.get(number)
        if kind == b"open":
            self.tell(type="open_failed", session=number, content=say(error))
        elif session is not None and kind in (b"turn", b"event", b"answer"):
            self.fail(session, int(found[3] or 0), say(error))

    def on_ping(self, message):
        self.tell(type="pong", number=message["number"])

    def on_end(self, _message):
        self.loop.stop()

    def on_open(self, message):
        session = Session(self, message["session"], message["id"], message.get("params"), message["history"])
        self.sessions[session.number] = session
        session.opening = self.loop.create_task(self.open(session, message))

    async def open(self, session, message):
        try:
            caller = session.caller = await self.loader.caller(session.params)
            state = message.get("state")
            if state is not None and caller.import_state:
                with_context = accepts(caller.import_state, 2, "ctx")
                if with_context or not caller.shared or not caller.used:
                    caller.used = True
                    extra = (Context(session, 0),) if with_context else ()
                    await caller.call(self, caller.import_state, state, *extra)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # the agent's own code, whatever it raises: it belongs to this session
            if self.ending:
                raise
            show(error)
            session.error = say(error)
            self.tell(type="open_failed", session=session.number, content=session.error)
            return
        self.tell(type="opened", session=session.number, name=caller.name, on_event=caller.on_event is not None)

    def on_turn(self, message):
        session = self.sessions[message["session"]]
        context = session.context = Context(session, message["turn"], message.get("metadata"))
        session.task = self.loop.create_task(self.turn(session, context, message["content"]))
        self.turns.add(context, session.task)

    async def turn(self, session, context, content):
        try:
            if not session.opening.done():
                await asyncio.wait({session.opening})
            # Two turns of a session never overlap, not even if the client has cancelled the first: an agent that keeps
            # something about the conversation could not stand it. If that one never ends, this worker will.
            while session.running is not None and not session.running.done():
                await asyncio.wait({session.running})
            session.running = asyncio.current_task(self.loop)
            if session.error is not None:
                raise LoadError(session.error)
            caller = session.caller
            caller.used = True
            text = await caller.run(self, context, content)
            if context.cancelled or not context._begun:
                return
            if context._answered:
                text = context._answer
            session.history.append({"role": "user", "content": content})
            session.history.append({"role": "assistant", "content": text})
            del session.history[:-MAX_HISTORY]
            if caller.export_state and caller.import_state:
                await self.export(session, context, caller)
            if session.full():
                await session.room()
            if not context.cancelled:
                session.send('{"type":"final","session":%d,"turn":%d,"quiet":%s,"content":%s}\n' % (
                    session.number, context._turn, "true" if context._answered else "false", encode(text)), True)
        except (asyncio.CancelledError, Cancelled):
            if not context.cancelled:
                self.fail(session, context._turn, "the agent cancelled itself")
        except BaseException as error:  # the agent's own code, whatever it raises: it belongs to this turn
            if self.ending:
                raise
            if not context.cancelled:
                if not isinstance(error, LoadError):
                    show(error)
                self.fail(session, context._turn, say(error))
        finally:
            session.forget_questions(context)
            self.turns.remove(context)

    def fail(self, session, turn, message):
        """The turn is over, without an answer. Behind what the session has sent, so not past its credit."""
        session.send('{"type":"failed","session":%d,"turn":%d,"content":%s}\n' % (session.number, turn, encode(message)), True)

    async def export(self, session, context, caller):
        try:
            extra = (context,) if accepts(caller.export_state, 1, "ctx") else ()
            state = encode_exactly(await caller.call(self, caller.export_state, *extra))
            line = to_bytes('{"type":"state","session":%d,"state":%s}\n' % (session.number, state))
            if len(line) > MAX_STATE:
                raise ValueError("export_state returned %d bytes; at most %d are kept" % (len(line), MAX_STATE))
            self.channel.send(line)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # the answer is good even if the state is not
            if self.ending:
                raise
            show(error)

    def on_cancel(self, message):
        number, turn = message["session"], message["turn"]
        session = self.sessions.get(number)
        if session is not None and session.context is not None and session.context._turn == turn:
            session.cancel(session.context, session.task)
            if not session.task.done():
                session.task.add_done_callback(lambda _: self.tell(type="ended", session=number, turn=turn))
                return
        self.tell(type="ended", session=number, turn=turn)

    def on_answer(self, message):
        session = self.sessions.get(message["session"])
        if session is not None:
            session.answer(message["step_id"], message.get("content"))

    def on_credit(self, message):
        session = self.sessions.get(message["session"])
        if session is not None:
            session.add_credit(message["bytes"])

    def on_event(self, message):
        session = self.sessions[message["session"]]
        if len(session.events) >= MAX_EVENTS:
            self.fail(session, 0, "too many events at once")
            self.tell(type="ended", session=session.number, turn=0)
            return
        context = Context(session, 0)
        task = session.events[context] = self.loop.create_task(self.event(session, context, message["event"]))
        self.turns.add(context, task)

    async def event(self, session, context, event):
        try:
            if not session.opening.done():
                await asyncio.wait({session.opening})
            if session.error is not None:
                raise LoadError(session.error)
            caller = session.caller
            extra = (context,) if accepts(caller.on_event, 2) else ()
            await caller.call(self, caller.on_event, event, *extra)
        except BaseException as error:  # the agent's own code
            if self.ending:
                raise
            if not context.cancelled:
                if not isinstance(error, LoadError):
                    show(error)
                self.fail(session, 0, say(error))
        finally:
            session.events.pop(context, None)
            session.forget_questions(context)
            self.turns.remove(context)
            self.tell(type="ended", session=session.number, turn=0)

    def on_retire(self, message):
        self.turns.retire(message)

    def on_close(self, message):
        session = self.sessions.pop(message["session"], None)
        if session is not None:
            session.close()


def main(sock):
    """Serves until the socket closes."""
    os.environ.pop("MYAGENT_WORKER_FD", None)
    worker = Worker(sock)
    loaded = worker.load(os.path.abspath(os.environ["MYAGENT_AGENT_FILE"]))
    sock.setblocking(not loaded)
    worker.channel.push()
    if loaded:
        worker.serve()
    sys.exit(0 if loaded else 1)
