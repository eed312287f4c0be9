"""The way to the host: lines of JSON from any thread, and the threads that agents without async run in."""

import asyncio
import contextvars
import json
import json.encoder
import queue
import re
import selectors
import threading
import traceback
from collections import deque
from time import monotonic

encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str, separators=(",", ":")).encode
encode_exactly = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
quote = json.encoder.encode_basestring  # the same for a string, without a look at what it is
SURROGATE = re.compile("[\ud800-\udfff]")


def to_bytes(text):
    """UTF-8; lone surrogates, which UTF-8 does not have, become JSON escapes."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return SURROGATE.sub(lambda found: "\\u%04x" % ord(found[0]), text).encode()


def say(error):
    """An exception in words."""
    try:
        text = str(error).encode(errors="replace").decode()  # without half characters, which are no words
    except Exception:  # its own __str__ fails
        text = ""
    return "%s: %s" % (type(error).__name__, text) if text else type(error).__name__


def show(error):
    """The traceback of an exception, from where the agent's own code begins."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(("myagent_", "<frozen ")):
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace or error.__traceback__)


class Selector(selectors.DefaultSelector):
    """What the loop waits with. What was said in a turn of the loop is written at the turn's end, in one go, without a
    turn of its own for that."""

    before = None  # called before each wait
    looked = False
    woke = 0  # when the loop's turn began

    def select(self, timeout=None):
        if self.before is not None:
            self.before()
        # Something is to be run already: a look at the sockets, which costs as much as a short task, can be left out once.
        if timeout is not None and timeout <= 0 and self.looked:
            self.looked = False
            ready = []
        else:
            self.looked = True
            ready = super().select(timeout)
        self.woke = monotonic()
        return ready


class Channel:
    """Lines to the host, in order, from any thread, in as few writes as possible."""

    def __init__(self, sock, loop, selector):
        self.sock, self.loop, self.selector = sock, loop, selector
        self.thread = threading.get_ident()
        self.lines = deque()
        self.rest = b""
        self.woken = False  # the loop, by a thread
        self.blocked = False  # until the socket takes more
        self.lock = threading.Lock()
        selector.before = self.flush

    def send(self, line):
        self.lines.append(line)
        # On the loop's own thread there is nothing else to do: it comes by before it waits.
        if not self.woken and threading.get_ident() != self.thread:
            self.woken = True
            self.loop.call_soon_threadsafe(self.flush)

    def flush(self):
        # First the flag, then the lines: a thread that still saw the flag set had put its line in before.
        self.woken = False
        if (self.lines or self.rest) and not self.blocked and self.push() and self.rest:
            self.blocked = True
            self.loop.add_writer(self.sock, self.writable)

    def writable(self):
        if not self.push() or not self.rest:
            self.blocked = False
            self.loop.remove_writer(self.sock)

    def push(self):
        """Writes what can be written; the only part that the watchdog's thread uses too. False: the host is gone."""
        with self.lock:
            while True:
                if not self.rest:
                    count = len(self.lines)
                    if not count:
                        return True
                    self.rest = b"".join([self.lines.popleft() for _ in range(count)])
                try:
                    self.rest = self.rest[self.sock.send(self.rest):]
                except (BlockingIOError, InterruptedError):
                    return True
                except OSError:
                    self.lines.clear()
                    self.rest = b""
                    return False
                if self.rest:
                    return True


class Threads:
    """Some daemon threads, so that one that never ends cannot keep the process from ending."""

    def __init__(self, loop, name, most):
        self.loop, self.name, self.most = loop, name, most
        self.jobs = queue.SimpleQueue()
        self.started = 0
        self.busy = 0

    async def run(self, function, *arguments):
        """Calls it in a thread. A cancel waits for the thread, which cannot be cancelled, so that what comes next does not
        overlap with it."""
        future = self.start(function, *arguments)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if not future.done():
                await asyncio.wait({future})
            if not future.cancelled():
                future.exception()  # Nobody else will ask.
            raise

    def start(self, function, *arguments):
        """A future of the function's result. Called on the loop's thread."""
        future = self.loop.create_future()
        self.busy += 1
        if self.busy > self.started and self.started < self.most:
            self.started += 1
            threading.Thread(target=self.work, name="%s-%d" % (self.name, self.started), daemon=True).start()
        self.jobs.put((future, contextvars.copy_context(), function, arguments))
        return future

    def work(self):
        while True:
            future, context, function, arguments = self.jobs.get()
            result, error = None, None
            try:
                result = context.run(function, *arguments)
            except BaseException as caught:  # whatever it is, it belongs to the turn and not to this thread
                error = RuntimeError(say(caught)) if isinstance(caught, (StopIteration, SystemExit)) else caught
            try:
                self.loop.call_soon_threadsafe(self.done, future, result, error)
            except RuntimeError:
                return  # The loop has ended.
            del future, context, function, arguments, result, error

    def done(self, future, result, error):
        self.busy -= 1
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
