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
import time
import traceback

from myagent_agent import LoadError, Loader, accepts
from myagent_channel import Channel, Threads, encode, say, show, to_bytes
from myagent_session import CREDIT, Cancelled, Context, Session

PROTOCOL = 1
MAX_HISTORY = 200  # messages kept in ctx.history
MAX_EVENTS = 100  # events for on_event that are being handled at once, per session
OVERLAP = 2.0  # seconds that a new turn waits for a cancelled one to end
STUCK_AFTER = 30.0  # seconds after which the thread of a cancelled turn counts as stuck
BLOCKED_AFTER = 5.0  # seconds after which the loop counts as blocked
ADDRESS = re.compile(rb'\{"type":"(\w+)","session":(\d+)(?:,"turn":(\d+))?')


class Worker:
    """Takes the host's lines and does what they say."""

    def __init__(self, sock):
        sock.setblocking(False)
        os.set_inheritable(sock.fileno(), False)
        self.sock = sock
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.thread = threading.get_ident()
        self.channel = Channel(sock, self.loop)
        self.threads = Threads(self.loop)
        self.loader = None
        self.sessions = {}
        self.tail = b""
        self.stuck = 0
        self.beat_asked = None
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
                  state=caller.export_state is not None and caller.import_state is not None,
                  retry_safe=bool(getattr(caller.agent, "retry_safe", False)))
        return True

    def serve(self):
        self.loop.add_reader(self.sock, self.readable)
        threading.Thread(target=self.watch, name="watchdog", daemon=True).start()
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
            data = self.sock.recv(CREDIT)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.loop.stop()
            return
        lines = (self.tail + data).split(b"\n")
        self.tail = lines.pop()
        for line in lines:
            try:
                message = json.loads(line)
                getattr(self, "on_" + message["type"])(message)
            except Exception as error:  # one line that cannot be handled must not end all conversations
                show(error)
                self.refuse(line, error)

    def refuse(self, line, error):
        found = ADDRESS.match(line)
        if found and found[1] == b"turn":
            self.tell(type="failed", session=int(found[2]), turn=int(found[3]), content=say(error))
        elif found and found[1] == b"open":
            self.tell(type="open_failed", session=int(found[2]), content=say(error))

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
        except Exception as error:  # the agent's own code: it belongs to this session
            show(error)
            session.error = say(error)
            self.tell(type="open_failed", session=session.number, content=session.error)
            return
        self.tell(type="opened", session=session.number, name=caller.name, on_event=caller.on_event is not None)

    def on_turn(self, message):
        session = self.sessions[message["session"]]
        previous = session.task
        session.context = Context(session, message["turn"])
        session.task = self.loop.create_task(self.turn(session, session.context, message["content"], previous))

    async def turn(self, session, context, content, previous):
        try:
            if not session.opening.done():
                await asyncio.wait({session.opening})
            if previous is not None and not previous.done():
                await asyncio.wait({previous}, timeout=OVERLAP)
            if session.error is not None:
                raise LoadError(session.error)
            caller = session.caller
            caller.used = True
            text = await caller.run(self, context, content)
            if context.cancelled:
                return
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
            for step in [step for step, (owner, _) in session.confirms.items() if owner is context]:
                del session.confirms[step]

    def fail(self, session, turn, message):
        """The turn is over, without an answer. Behind what the session has sent, so not past its credit."""
        session.send('{"type":"failed","session":%d,"turn":%d,"content":%s}\n' % (session.number, turn, encode(message)), True)

    async def export(self, session, context, caller):
        try:
            extra = (context,) if accepts(caller.export_state, 1, "ctx") else ()
            state = await caller.call(self, caller.export_state, *extra)
            self.tell(type="state", session=session.number, state=state)
        except Exception as error:  # the answer is good even if the state is not
            show(error)

    def on_cancel(self, message):
        session = self.sessions[message["session"]]
        context, busy = session.context, session.task
        session.cancel(message["turn"])
        if session.caller is not None and not session.caller.is_async and busy is not None and not busy.done():
            self.loop.call_later(STUCK_AFTER, self.look_for_stuck, context, busy)

    def look_for_stuck(self, context, task):
        if not task.done():
            self.stuck += 1
            self.tell(type="stuck", count=self.stuck, turn=context._turn)

    def on_answer(self, message):
        self.sessions[message["session"]].answer(message["step_id"], message.get("content"))

    def on_credit(self, message):
        session = self.sessions.get(message["session"])
        if session is not None:
            session.add_credit(message["bytes"])

    def on_event(self, message):
        session = self.sessions[message["session"]]
        if len(session.tasks) >= MAX_EVENTS:
            self.fail(session, 0, "too many events at once")
            return
        task = self.loop.create_task(self.event(session, message["event"]))
        session.tasks.add(task)
        task.add_done_callback(session.tasks.discard)

    async def event(self, session, event):
        try:
            if not session.opening.done():
                await asyncio.wait({session.opening})
            caller = session.caller
            extra = (Context(session, 0),) if accepts(caller.on_event, 2) else ()
            await caller.call(self, caller.on_event, event, *extra)
        except Exception as error:  # the agent's own code
            show(error)
            self.fail(session, 0, say(error))

    def on_close(self, message):
        session = self.sessions.pop(message["session"], None)
        if session is None:
            return
        if session.context is not None:
            session.cancel(session.context._turn)
        for task in list(session.tasks):
            task.cancel()

    def watch(self):
        """Reports a loop that does not turn, with what it is doing, from a thread of its own."""
        while True:
            asked = self.beat_asked = time.monotonic()
            try:
                self.loop.call_soon_threadsafe(self.beat)
            except RuntimeError:
                return  # The loop has ended.
            time.sleep(2.0)
            if self.beat_asked is None:
                continue
            time.sleep(max(0.0, asked + BLOCKED_AFTER - time.monotonic()))
            if self.beat_asked is None:
                continue
            stack = stack_of(sys._current_frames().get(self.thread))
            self.channel.lines.append(to_bytes(encode({"type": "blocked", "seconds": BLOCKED_AFTER, "stack": stack}) + "\n"))
            self.channel.push()
            while self.beat_asked is not None:
                time.sleep(0.5)

    def beat(self):
        self.beat_asked = None


def stack_of(frame):
    """What a thread is doing, from where the agent's own code begins."""
    frames = traceback.extract_stack(frame) if frame else []
    ours = [at for at, found in enumerate(frames) if found.filename.startswith("myagent_")]
    own = frames[ours[-1] + 1:] if ours else frames
    return "".join(traceback.format_list((own or frames)[-12:]))


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
