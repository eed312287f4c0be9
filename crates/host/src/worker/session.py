"""One conversation in the worker: its credit, its turn, and the context that the agent's methods get."""

import asyncio
import queue
import threading
from collections import deque

from myagent_channel import encode, quote, to_bytes

CREDIT = 256 * 1024  # bytes of events that a session may have under way to its client
BACKLOG = 4 * 1024 * 1024  # bytes of events that ctx.emit may pile up beyond the credit
COOPERATIVE = 0.5  # seconds in which an async agent may notice ctx.cancelled by itself


class Cancelled(Exception):
    """Raised in a thread that waits for a client whose turn was cancelled."""


class Sent:
    """What ctx.emit returns: it may be awaited, to wait until the client has room."""

    __slots__ = ("session",)

    def __init__(self, session):
        self.session = session

    def __await__(self):
        if self.session.full():
            yield from self.session.room().__await__()


class Context:
    """What an agent's method gets as its second argument: the session, as one turn sees it."""

    def __init__(self, session, turn, metadata=None):
        self._session, self._turn = session, turn
        self._parts, self._length = [], 0
        self._answered, self._answer = False, None
        self._begun = turn == 0  # the agent's code has been called; only a turn may have to wait for that
        self.cancelled = False  # True once the client has cancelled the turn
        self.metadata = metadata  # what the client's user.message had besides its content, or None

    @property
    def session_id(self):
        """The session's id."""
        return self._session.id

    @property
    def history(self):
        """Earlier messages of the session, oldest first: [{"role": "user" | "assistant", "content": …}]."""
        return list(self._session.history)

    @property
    def params(self):
        """What the client sent with user.create_session, or None."""
        return self._session.params

    def emit(self, event, content=None, metadata=None, step_id=None):
        """Sends an event of the agent's own to the client. Await it to wait for a client that reads slowly."""
        session = self._session
        if self.cancelled:
            return Sent(session)
        session.send('{"type":"emit","session":%d,"turn":%d,"event":%s,"step_id":%s,"content":%s,"metadata":%s}\n' % (
            session.number, self._turn, encode(str(event)), encode(step_id), encode(content), encode(metadata)))
        # With the host before the agent goes on: whatever it does next, its turn is not taken for one that did nothing.
        session.worker.channel.push()
        if event == "agent.final_answer":
            self._answered, self._answer = True, content
        if session.full() and threading.get_ident() != session.worker.thread:
            session.wait_for_room(self)
        return Sent(session)

    def confirm(self, text, options=None, metadata=None):
        """Asks the client; returns the content of its answer. To be awaited; in a thread it blocks."""
        session = self._session
        extra = dict(metadata or {})
        if options is not None:
            extra["options"] = list(options)
        on_loop = threading.get_ident() == session.worker.thread
        waiting = session.worker.loop.create_future() if on_loop else queue.SimpleQueue()
        step = session.ask(self, waiting)
        if step is None:
            if on_loop:
                waiting.cancel()
                return waiting
            raise Cancelled("the turn was cancelled")
        self.emit("agent.user_confirm", text, extra, step)
        if on_loop:
            return waiting
        answer = waiting.get()
        if answer is Cancelled:
            raise Cancelled("the turn was cancelled")
        return answer[0]

    def _begin(self):
        """Whether the turn may begin. Afterwards it is not taken back: it ends, or it is cancelled."""
        # First this, then the look at who may be against it; those who are do it the other way round.
        self._begun = True
        if self.cancelled or self._session.worker.turns.retiring is not None:
            self._begun = False
        return self._begun

    def _piece(self, piece):
        """One piece of a streamed answer."""
        if self.cancelled or piece is None:
            return
        text = piece if isinstance(piece, str) else str(piece)
        if text:
            self._parts.append(text)
            self._length += len(text)
            session = self._session
            session.send('{"type":"partial","session":%d,"turn":%d,"length":%d,"content":%s}\n' % (
                session.number, self._turn, self._length, quote(text)))


class Session:
    """One conversation: its agent, its credit, its turn."""

    def __init__(self, worker, number, session_id, params, history):
        self.worker, self.number, self.id, self.params, self.history = worker, number, session_id, params, history
        self.caller = None
        self.error = None
        self.opening = None
        self.credit = CREDIT
        self.backlog = deque()
        self.backlog_bytes = 0
        self.waiters = []
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.confirms = {}
        self.asked = 0
        self.context = None  # of the newest turn
        self.task = None  # which handles it
        self.running = None  # the task of the newest turn that has been its agent's; the next one waits for it
        self.events = {}  # contexts of events for on_event, and their tasks

    def send(self, text, last=False):
        """An event on its way to the client; counts against the credit. The last one of a turn is never refused."""
        line = to_bytes(text)
        with self.lock:
            if not self.backlog and self.credit > 0:
                self.credit -= len(line)
                self.worker.channel.send(line)
                return
            if self.backlog_bytes > BACKLOG and not last:
                raise BufferError("the client does not read what the agent emits (await ctx.emit to wait for it)")
            self.backlog.append(line)
            self.backlog_bytes += len(line)

    def full(self):
        return self.credit <= 0 or bool(self.backlog)

    async def room(self):
        while self.full():
            waiter = self.worker.loop.create_future()
            self.waiters.append(waiter)
            await waiter

    def wait_for_room(self, context):
        with self.changed:
            self.changed.wait_for(lambda: not self.full() or context.cancelled)

    def add_credit(self, count):
        with self.changed:
            self.credit += count
            while self.backlog and self.credit > 0:
                line = self.backlog.popleft()
                self.backlog_bytes -= len(line)
                self.credit -= len(line)
                self.worker.channel.send(line)
            self.changed.notify_all()
        self.wake()

    def wake(self):
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def ask(self, context, waiting):
        """A question's step id; none: it would never be answered."""
        with self.changed:
            if context.cancelled:
                return None
            self.asked += 1
            step = "confirm_%d_%d" % (context._turn, self.asked)
            self.confirms[step] = (context, waiting)
            return step

    def answer(self, step, content):
        with self.changed:
            context, waiting = self.confirms.pop(step, (None, None))
        if context is None:
            return
        if isinstance(waiting, asyncio.Future):
            if not waiting.done():
                waiting.set_result(content)
        else:
            waiting.put((content,))

    def forget_questions(self, context):
        if not self.confirms:
            return []
        with self.changed:
            steps = [step for step, (owner, _) in self.confirms.items() if owner is context]
            return [self.confirms.pop(step)[1] for step in steps]

    def cancel(self, context, task):
        """Nobody wants more of this: tell the agent, first politely. A thread ends when it likes."""
        with self.changed:
            if context.cancelled:
                return
            context.cancelled = True
            if context._turn:
                # What waits beyond the credit belongs to the cancelled turn, or is as unwanted as that.
                self.backlog.clear()
                self.backlog_bytes = 0
            self.changed.notify_all()
        self.wake()
        for waiting in self.forget_questions(context):
            waiting.cancel() if isinstance(waiting, asyncio.Future) else waiting.put(Cancelled)
        if task is not None and not task.done():
            polite = context._begun and context._turn and self.caller is not None and self.caller.wants_context
            self.worker.loop.call_later(COOPERATIVE if polite else 0, task.cancel)
            self.worker.turns.cancelled(context)

    def close(self):
        for context, task in [(self.context, self.task), *self.events.items()]:
            if context is not None:
                self.cancel(context, task)
