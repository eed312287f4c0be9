"""The way to the host: lines of JSON from any thread, and the threads that agents without async run in."""

import contextvars
import json
import queue
import re
import threading
import traceback
from collections import deque

MAX_THREADS = 64

encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str, separators=(",", ":")).encode
SURROGATE = re.compile("[\ud800-\udfff]")


def to_bytes(text):
    """UTF-8; lone surrogates, which UTF-8 does not have, become JSON escapes."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return SURROGATE.sub(lambda found: "\\u%04x" % ord(found[0]), text).encode()


def say(error):
    """An exception in one line."""
    text = str(error)
    return "%s: %s" % (type(error).__name__, text) if text else type(error).__name__


def show(error):
    """The traceback of an exception, from where the agent's own code begins."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(("myagent_", "<frozen ")):
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace or error.__traceback__)


class Channel:
    """Lines to the host, in order, from any thread, in as few writes as possible."""

    def __init__(self, sock, loop):
        self.sock, self.loop = sock, loop
        self.thread = threading.get_ident()
        self.lines = deque()
        self.rest = b""
        self.scheduled = False
        self.lock = threading.Lock()

    def send(self, line):
        self.lines.append(line)
        if not self.scheduled:
            self.scheduled = True
            if threading.get_ident() == self.thread:
                self.loop.call_soon(self.flush)
            else:
                self.loop.call_soon_threadsafe(self.flush)

    def flush(self):
        # First the flag, then the lines: a thread that still saw the flag set had put its line in before.
        self.scheduled = False
        if self.push() and self.rest:
            self.loop.add_writer(self.sock, self.writable)

    def writable(self):
        if not self.push() or not self.rest:
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
    """Up to 64 daemon threads, so that one that never ends cannot keep the process from ending."""

    def __init__(self, loop):
        self.loop = loop
        self.jobs = queue.SimpleQueue()
        self.started = 0
        self.busy = 0

    def run(self, function, *arguments):
        """A future of the function's result. Called on the loop's thread."""
        future = self.loop.create_future()
        self.busy += 1
        if self.busy > self.started and self.started < MAX_THREADS:
            self.started += 1
            threading.Thread(target=self.work, name="agent-%d" % self.started, daemon=True).start()
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
