"""What does not end when it should: a loop that does not turn, turns that go on after their cancel, and the end of a
worker that has too many of those."""

import os
import sys
import threading
import time
import traceback

from myagent_channel import encode, to_bytes

BLOCKED_AFTER = 5.0  # seconds after which the loop counts as blocked


class Watchdog:
    """Reports a loop that does not turn, with what it is doing, from a thread of its own."""

    def __init__(self, loop, channel):
        self.loop, self.channel = loop, channel
        self.looked_at = threading.get_ident()
        self.asked = None
        threading.Thread(target=self.watch, name="watchdog", daemon=True).start()

    def watch(self):
        while True:
            asked = self.asked = time.monotonic()
            try:
                self.loop.call_soon_threadsafe(self.beat)
            except RuntimeError:
                return  # The loop has ended.
            time.sleep(2.0)
            if self.asked is None:
                continue
            time.sleep(max(0.0, asked + BLOCKED_AFTER - time.monotonic()))
            if self.asked is None:
                continue
            stack = stack_of(sys._current_frames().get(self.looked_at))
            self.channel.lines.append(to_bytes(encode({"type": "blocked", "seconds": BLOCKED_AFTER, "stack": stack}) + "\n"))
            self.channel.push()
            while self.asked is not None:
                time.sleep(0.5)

    def beat(self):
        self.asked = None
        if self.channel.rest:
            self.channel.flush()  # What the watchdog could not write, nobody else may have a reason to.


def stack_of(frame):
    """What a thread is doing, from where the agent's own code begins."""
    frames = traceback.extract_stack(frame) if frame else []
    ours = [at for at, found in enumerate(frames) if found.filename.startswith("myagent_")]
    own = frames[ours[-1] + 1:] if ours else frames
    return "".join(traceback.format_list((own or frames)[-12:]))


class Turns:
    """The turns of all sessions, those that do not end after their cancel, and whether new ones may begin."""

    def __init__(self, worker):
        self.worker = worker
        self.after = float(os.environ.get("MYAGENT_WORKER_STUCK_AFTER") or 30)
        self.tasks = {}  # context of a turn, or of an event for on_event: its task
        self.stuck = set()
        self.telling = False
        self.retiring = None  # the line that said so

    def add(self, context, task):
        self.tasks[context] = task

    def remove(self, context):
        self.tasks.pop(context, None)
        if context in self.stuck:
            self.stuck.discard(context)
            self.tell_soon()
        self.check_retired()

    def cancelled(self, context):
        """It has been told to end; is it still there after a while?"""
        self.worker.loop.call_later(self.after, self.look, context)

    def look(self, context):
        if context in self.tasks and context._begun:
            self.stuck.add(context)
            self.tell_soon()
            self.check_retired()

    def tell_soon(self):
        """Many may change at once."""
        if not self.telling:
            self.telling = True
            self.worker.loop.call_soon(self.tell)

    def tell(self):
        self.telling = False
        sessions = sorted({context._session.number for context in self.stuck})
        self.worker.tell(type="stuck", count=len(self.stuck), sessions=sessions, seconds=self.after)

    def retire(self, line):
        """From now on no turn begins: what has not begun goes to the next worker. Without force only if nothing runs."""
        if not line.get("force") and self.runs(True):
            self.worker.tell(type="busy")
            return
        # First this, then the look at what has begun; a thread that begins a turn does it the other way round.
        self.retiring = line
        self.check_retired()

    def runs(self, events):
        """Whether anything runs that is worth waiting for."""
        running = (context for context in self.tasks if context._begun and context not in self.stuck)
        return any(context._turn or events for context in running)

    def check_retired(self):
        """Nothing runs any more that is worth waiting for: says so, once."""
        if self.retiring is None or self.retiring.get("told"):
            return
        if not self.runs(not self.retiring.get("force")):
            self.retiring["told"] = True
            self.worker.tell(type="retired")
