"""A client of the event protocol that loses nothing when its connection does.

    session = await connect("ws://127.0.0.1:9090/s/weather")
    async for event in session.ask("Is it warmer in Paris or in Tokyo?"):
        if event["event"] == "agent.partial_answer":
            print(event["content"], end="")
    keep(session.state)  # later: await connect(url, state=…)

What it promises is in the README beside this folder. One file, to be copied into your program; it needs `websockets`
(requirements.txt) and Python 3.9 or newer. The upper half decides and does no I/O; `Session` does what it decided.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, AsyncIterator, Callable, Optional
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

__all__ = ["ClientError", "ConnectFailed", "MessageUnknown", "Session", "SessionLost", "connect"]

Event = dict  # one event, as it came: {"event", "session_id", "seq", "content", "metadata", …}

# --- What can go wrong ------------------------------------------------------------------------------------------------


class ClientError(Exception):
    """Anything that the application must be told."""

    def __init__(self, code: str, text: str):
        super().__init__(f"{code}: {text}")
        self.code = code


class ConnectFailed(ClientError):
    """There is no session: nobody answered in time, or the service or the agent refused."""


class SessionLost(ClientError):
    """The session goes on nowhere, or not here. `code` says why: SESSION_NOT_FOUND (it has ended), SESSION_MOVED
    (another client took it), SESSION_ENDED (the agent ended it), UNREACHABLE (nobody answered for `give_up_after`),
    CLOSED (by `close`), or what the server said. `state` may serve to try again after UNREACHABLE."""

    def __init__(self, code: str, text: str, state: Optional[dict] = None):
        super().__init__(code, text)
        self.state = state


class MessageUnknown(ClientError):
    """The connection broke after a message was sent. `received` is False: it did not arrive, say it again; None: nobody
    knows, and saying it again may say it twice. The session goes on."""

    def __init__(self, content: Any, received: Optional[bool]):
        known = "did not arrive" if received is False else "may not have arrived"
        super().__init__("MESSAGE_UNKNOWN", f"the connection broke, and the message {known}")
        self.content = content
        self.received = received


# --- Decisions, without I/O -------------------------------------------------------------------------------------------


class Backoff:
    """How long to wait before the next try: doubled each time, half of it by chance, never less than was asked for."""

    def __init__(self, first: float = 0.1, limit: float = 10.0, chance: Callable[[], float] = random.random):
        self.first, self.limit, self.chance = first, limit, chance
        self.tries = 0

    def delay(self, at_least: float = 0.0) -> float:
        whole = min(self.limit, self.first * 2 ** min(self.tries, 30))
        self.tries += 1
        return max(whole * (0.5 + 0.5 * self.chance()), at_least)

    def reset(self) -> None:
        self.tries = 0


NEW, SEEN, GAP = "new", "seen", "gap"


class Sequence:
    """Which events of a session have come: each once, in order, and none left out unless the server said so."""

    def __init__(self, last: int = 0):
        self.last = last
        self.gap_to = 0

    def begin(self, seq: int) -> None:
        """The first event of a new session."""
        self.last = seq

    def restored(self, server_last: int) -> bool:
        """A connection resumes the session. True: the server knows less than was seen here (it lost its newest writes),
        and numbers will come a second time for other events."""
        self.gap_to = 0
        behind = server_last < self.last
        self.last = min(self.last, server_last)
        return behind

    def gap(self, to_seq: int) -> None:
        """The server no longer has the events up to this one; it may still send some of them."""
        self.gap_to = max(self.gap_to, to_seq)

    def replayed(self) -> None:
        """All that the server had has come."""
        self.last = max(self.last, self.gap_to)
        self.gap_to = 0

    def take(self, seq: int) -> str:
        if seq <= self.last:
            return SEEN
        if seq > max(self.last, self.gap_to) + 1:
            return GAP
        self.last = seq
        return NEW


class Message:
    """A message of the user, from the moment it is sent to the end of its answer."""

    def __init__(self, content: Any = None, number: int = 0):
        self.content = content
        self.number = number
        self.sent = 0
        self.answering = False  # an event of its answer has come


class Turns:
    """Which message an event belongs to. The server answers them one by one, in order, each with exactly one end."""

    def __init__(self) -> None:
        self.open: list[Message] = []  # sent and not at their end, oldest first
        self.count = 0
        self.stray = False  # something is being answered that was not sent from here
        self.busy: Optional[int] = None  # how many the server has at hand, if it said so when the session was resumed
        self.busy_at = 0  # the session's number then

    def sent(self, message: Message) -> None:
        if message.number == 0:
            self.count += 1
            message.number = self.count
        message.sent += 1
        self.open.append(message)

    def event(self, event: Event) -> tuple[int, int]:
        """Numbers of the message that this event belongs to and of the one that ends with it; 0: none."""
        ends = turn_end(event)
        if ends == "oldest" and self.busy and event.get("seq", 0) > self.busy_at:
            self.busy -= 1
        if ends == "none":
            if self.open:
                self.open[0].answering = True
                return self.open[0].number, 0
            self.stray = True
            return 0, 0
        if ends == "aside":
            return (self.open[0].number if self.open else 0), 0
        self.stray = False
        if not self.open:
            return 0, 0
        message = self.open.pop(0 if ends == "oldest" else -1)
        return message.number, message.number

    def restored(self, last_seq: int, busy: Optional[int]) -> None:
        """A connection resumes the session. So many messages were at hand when its last event was this one; it goes on
        while what was missed is on its way."""
        self.busy, self.busy_at = busy, last_seq

    def adopt(self) -> int:
        """A session was resumed from a stored state, and all that was missed has come. Number of the newest message that
        is still being answered; 0: none."""
        for _ in range(int(self.stray) if self.busy is None else self.busy):
            message = Message()
            self.sent(message)
            message.answering = True
        self.stray, self.busy = False, None
        return self.count

    def resumed(self) -> list[tuple[Message, Optional[bool]]]:
        """The session goes on in a new connection, and all that was missed has come. Messages of which nobody knows
        whether they arrived; False beside those that did not."""
        busy, self.busy = self.busy, None
        known = busy is not None
        kept = self.open[:busy] if known else [message for message in self.open if message.answering]
        lost = [message for message in self.open if message not in kept]
        self.open = kept
        return [(message, False if known else None) for message in lost]


def turn_end(event: Event) -> str:
    """What an event of a session says about turns: "oldest" and "newest": this one of the open messages is at its end;
    "none": it belongs to an answer; "aside": it says nothing."""
    name, metadata = event.get("event"), event.get("metadata") or {}
    code = metadata.get("code")
    if name == "agent.final_answer":
        return "oldest"
    if name == "agent.interrupted":
        return "aside" if metadata.get("reason") == "nothing_running" else "oldest"
    if name == "agent.error":
        if code in ("UNKNOWN_STEP", "EVENT_FAILED", "NOT_READY"):
            return "aside"
        return "newest" if code in ("BUSY", "EMPTY_MESSAGE") else "oldest"
    return "aside" if name in ("agent.session_created", "agent.state_exported", "agent.session_end") else "none"


def with_session(url: str, session_id: Optional[str]) -> str:
    """The URL by which the front door finds the session's instance."""
    if session_id is None:
        return url
    parts = urlsplit(url)
    query = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "session_id"]
    return urlunsplit(parts._replace(query=urlencode([*query, ("session_id", session_id)])))


# --- The session ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Options:
    """Times are seconds."""

    connect_timeout: float = 30.0  # for `connect` as a whole, and for each later try
    give_up_after: float = 1800.0  # without a connection; a server keeps sessions half an hour unless told otherwise
    silence: float = 35.0  # then the server is asked whether it is there; its heartbeat comes each 30 s
    pong: float = 10.0  # it has so long to answer
    first_delay: float = 0.1
    max_delay: float = 10.0
    ack_events: int = 100
    ack_seconds: float = 1.0
    queue: int = 1000  # events that wait for the application; beyond that nothing is read
    resend: str = "never"  # "unreceived": messages that did not arrive; "always": also those of which nobody knows
    on_status: Optional[Callable[[str, str], None]] = None  # ("connected" | "reconnecting" | "closed", why)
    websocket: dict = field(default_factory=dict)  # more arguments for websockets.connect

    def __post_init__(self) -> None:
        if self.resend not in ("never", "unreceived", "always"):
            raise ValueError(f"resend is never, unreceived or always, not {self.resend!r}")


MAX_SENDS = 3  # of one message: one that breaks each connection (too big) must not do so for ever
MAX_REFUSALS = 3  # of a session by a service that is not there; its manager may just have begun
MAX_RESPONSES = 100  # kept until the end of the turn
MAX_GAPS = 3  # fetches of the same missing events
MAX_FRAME = 16 * 1024 * 1024


@dataclass
class Item:
    """What waits for the application. Without an event: here ends what was missed."""

    event: Optional[Event]
    last: int  # the session's number after it
    turn: int = 0
    ends: int = 0
    error: Optional[MessageUnknown] = None


class _Ended(Exception):
    """A connection is of no more use: why, and how long to wait at least."""

    def __init__(self, why: str, at_least: float = 0.0):
        super().__init__(why)
        self.at_least = at_least


async def connect(
    url: str, *, params: Any = None, state: Optional[dict] = None, **options: Any
) -> "Session":
    """A new session (`params` is for the agent), or with `state` the one that was left. Options: see `Options`."""
    session = Session(url, params, state, Options(**options))
    try:
        await asyncio.shield(session._begun)
    except BaseException:
        await session.close()
        raise
    return session


class Session:
    """A conversation, over as many connections as it takes. Made by `connect`."""

    def __init__(self, url: str, params: Any, state: Optional[dict], options: Options):
        self.id: Optional[str] = state["session_id"] if state else None
        self.agent_name: Optional[str] = None
        self._url, self._params, self._options = url, params, options
        self._sequence = Sequence(state["last_seq"] if state else 0)
        self._seen = self._acked = self._sequence.last  # what the application has, and what the server knows of it
        self._unacked_since = 0.0
        self._turns = Turns()
        self._fresh = state is not None  # resumed, and nothing is known yet of what is going on
        self._missed = self._fresh  # what was missed before it was resumed has not been read yet
        self._rest = 0  # the message that was being answered when it was resumed
        self._cancel = 0  # the message whose end was asked for
        self._responses: list[tuple[int, dict]] = []
        self._items: deque[Item] = deque()
        self._news, self._room, self._live = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._room.set()
        self._reader: Optional[object] = None
        self._socket: Any = None
        self._phase = "greeting"
        self._steps: Optional[list] = None  # the agent's open questions, if the server says so
        self._why = ""
        self._heard, self._pinged = 0.0, False
        self._refusals = self._gaps = 0
        self._backoff = Backoff(options.first_delay, options.max_delay)
        self._error: Optional[ClientError] = None
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())

    # --- For the application ---

    @property
    def state(self) -> dict:
        """All that is needed to come back, in this process or another, as of the last event that was handed out."""
        return {"session_id": self.id, "last_seq": self._seen}

    @property
    def connected(self) -> bool:
        """Whether a connection carries the session just now."""
        return self._live.is_set()

    @property
    def answering(self) -> bool:
        """Whether a message was sent, or found at the server, whose answer is not at its end."""
        return bool(self._turns.open)

    async def ask(self, content: Any) -> AsyncIterator[Event]:
        """Sends a message and hands out the events of its answer, the last one of which is `agent.final_answer`,
        `agent.error` or `agent.interrupted`. What is left of an earlier answer is passed over."""
        message = await self.post(content)
        async for item in self._read():
            if item.error and item.turn == message.number:
                raise item.error
            # An answer to a cancel that crossed the end of its turn is of no answer.
            crossed = not item.turn and item.event and item.event["event"] == "agent.interrupted"
            if item.event and not crossed and not 0 < item.turn < message.number:
                yield item.event
            if item.ends == message.number:
                return

    async def rest(self) -> AsyncIterator[Event]:
        """After `connect` with a state: the events that were missed, and the rest of an answer that was going on."""
        if not self._missed and not self._rest:
            return
        async for item in self._read():
            if item.event:
                yield item.event
            if not self._missed and not self._rest:
                return

    async def events(self) -> AsyncIterator[Event]:
        """Everything that comes, for ever: until the session is lost, or closed. A message of which nobody knows
        whether it arrived is an event `client.message_unknown`."""
        async for item in self._read():
            if item.event:
                yield item.event

    async def post(self, content: Any) -> Message:
        """Sends a message without waiting for its answer; waits for a connection if there is none."""
        if content is None or isinstance(content, str) and not content.strip():
            raise ValueError("the message is empty")
        message = Message(content)
        await self._connection()
        self._turns.sent(message)
        await self._put(self._message(message))
        return message

    async def cancel(self) -> None:
        """Ends the answer that is under way; its `agent.interrupted` comes as an event."""
        if self._turns.open:
            self._cancel = self._turns.open[0].number
            if not self._live.is_set():
                return  # It is sent as soon as there is a connection, if it still makes sense then.
        await self.send({"event": "user.cancel"})

    async def respond(self, step_id: str, content: Any) -> None:
        """Answers an `agent.user_confirm`."""
        response = {"event": "user.response", "step_id": step_id, "content": content}
        await self._connection()
        self._responses.append((self._sequence.last, response))
        del self._responses[:-MAX_RESPONSES]
        await self._put(response)

    async def send(self, event: Event) -> None:
        """Sends any event in the session, once, if the connection lasts so long."""
        await self._connection()
        await self._put(event)

    async def close(self) -> None:
        """Ends the connection. The session stays where it is, to be resumed by its `state`."""
        self._fail(SessionLost("CLOSED", "the session was closed here", self.state))
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def __aenter__(self) -> "Session":
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    # --- Handing out ---

    async def _read(self) -> AsyncIterator[Item]:
        reader = self._reader = object()
        while True:
            while not self._items:
                if self._error is not None:
                    if self._error.code == "CLOSED":
                        return
                    raise self._error
                self._news.clear()
                await self._news.wait()
                if self._reader is not reader:
                    raise RuntimeError("the events of a session can be read in one place at a time")
            item = self._items.popleft()
            if len(self._items) <= self._options.queue // 2:
                self._room.set()
            if item.last != self._seen and self._seen == self._acked:
                self._unacked_since = time.monotonic()
            self._seen = item.last
            if item.event is None:
                self._missed, self._rest = False, item.turn
            elif item.ends == self._rest:
                self._rest = 0
            yield item

    def _push(self, item: Item) -> None:
        self._items.append(item)
        if len(self._items) >= self._options.queue:
            self._room.clear()
        self._news.set()

    def _fail(self, error: ClientError) -> None:
        if self._error is not None:
            return
        self._error = error
        self._live.set()  # Who waits for a connection shall see the error.
        self._news.set()
        self._room.set()
        if not self._begun.done():
            self._begun.set_exception(error)
            self._begun.exception()  # It may be that nobody waits for it.
        self._status("closed", str(error))

    def _status(self, status: str, why: str = "") -> None:
        if self._options.on_status is not None:
            self._options.on_status(status, why)

    # --- Sending ---

    async def _connection(self) -> None:
        while self._error is None and not self._live.is_set():
            await self._live.wait()
        if self._error is not None:
            raise self._error

    def _message(self, message: Message) -> Event:
        return {"event": "user.message", "content": message.content}

    async def _put(self, event: Event) -> None:
        """Sends, or not: that the connection is gone is seen by who reads it."""
        from websockets.exceptions import ConnectionClosed

        socket = self._socket
        if socket is None:
            return
        try:
            await socket.send(json.dumps({**event, "session_id": self.id} if self.id else event))
        except ConnectionClosed:
            pass

    async def _catch_up(self) -> None:
        """What was under way when the last connection broke."""
        if self._fresh:
            self._fresh = False
            self._push(Item(None, self._sequence.last, self._turns.adopt()))
            return
        for message, received in self._turns.resumed():
            allowed = ("unreceived", "always") if received is False else ("always",)
            if self._options.resend in allowed and message.sent < MAX_SENDS:
                self._turns.sent(message)
                await self._put(self._message(message))
                continue
            error = MessageUnknown(message.content, received)
            event = {"event": "client.message_unknown", "content": message.content, "metadata": {"received": received}}
            self._push(Item(event, self._sequence.last, message.number, message.number, error))
        if self._cancel and self._cancel in [message.number for message in self._turns.open]:
            await self._put({"event": "user.cancel"})
        for at, response in self._responses:
            # Without the server's word: nothing has happened since, so that it may not have arrived.
            open_still = at >= self._sequence.last if self._steps is None else response["step_id"] in self._steps
            if open_still:
                await self._put(response)

    async def _tick(self, socket: Any) -> None:
        """Beside each connection: acknowledges, and finds out whether the server is still there."""
        options, began = self._options, time.monotonic()
        step = max(0.01, min(0.25, options.ack_seconds / 2, options.silence / 4, options.pong / 4))
        while True:
            await asyncio.sleep(step)
            now = time.monotonic()
            if self._phase != "live" and now > began + options.connect_timeout:
                self._why = f"no session within {options.connect_timeout:g} s"
                socket.transport.abort()
            if not self._room.is_set():
                self._heard = now  # What is not read cannot be heard.
            if now > self._heard + options.silence and not self._pinged:
                self._pinged = True
                await socket.send('{"type":"ping"}')
            elif now > self._heard + options.silence + options.pong:
                self._why = "silent"
                socket.transport.abort()
            unseen = self._seen - self._acked
            due = unseen >= options.ack_events or now > self._unacked_since + options.ack_seconds
            if self._phase == "live" and unseen > 0 and due:
                self._acked = self._seen
                await self._put({"event": "user.ack", "content": {"last_seq": self._acked}})

    # --- Connections ---

    async def _run(self) -> None:
        options, without_since = self._options, time.monotonic()
        try:
            while self._error is None:
                if not self._room.is_set():
                    await self._room.wait()
                    without_since = time.monotonic()
                limit = options.give_up_after if self._begun.done() else options.connect_timeout
                began = time.monotonic()
                try:
                    await self._attempt(max(0.1, min(options.connect_timeout, without_since + limit - began)))
                except _Ended as ended:
                    now = time.monotonic()
                    if self._phase == "live":
                        without_since = now
                        if now > began + options.max_delay:
                            self._backoff.reset()
                    delay = self._backoff.delay(ended.at_least)
                    if now + delay > without_since + limit:
                        raise self._lost("UNREACHABLE", f"gave up after {limit:g} s: {ended}") from None
                    if self._error is None:
                        self._status("reconnecting", str(ended))
                        await asyncio.sleep(delay)
        except ClientError as error:
            self._fail(error)
        except Exception as error:  # A defect here must not leave the application waiting.
            self._fail(self._lost("CLIENT_FAILED", repr(error)))
            raise

    def _lost(self, code: str, text: str) -> ClientError:
        return SessionLost(code, text, self.state) if self.id else ConnectFailed(code, text)

    async def _attempt(self, timeout: float) -> None:
        """One connection from its beginning to its end."""
        self._phase = "greeting"
        from websockets.asyncio.client import connect as open_socket
        from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException

        settings = {"ping_interval": None, "close_timeout": 1, "max_size": MAX_FRAME, **self._options.websocket}
        try:
            socket = await open_socket(with_session(self._url, self.id), open_timeout=timeout, **settings)
        except InvalidURI as error:
            raise self._lost("INVALID_URL", str(error)) from None
        except InvalidStatus as error:
            if not self._begun.done() and 400 <= error.response.status_code < 500:
                raise self._lost("REFUSED", str(error)) from None
            raise _Ended(str(error)) from None
        except (OSError, EOFError, asyncio.TimeoutError, WebSocketException) as error:
            raise _Ended(str(error) or type(error).__name__) from None
        self._socket, self._steps, self._why = socket, None, ""
        self._heard, self._pinged = time.monotonic(), False
        ticker = asyncio.create_task(self._tick(socket))
        try:
            if self.id is None:
                created = {} if self._params is None else {"content": self._params}
                await self._put({"event": "user.create_session", **created})
            else:
                self._acked = self._seen
                await self._put({"event": "user.reconnect", "last_seq": self._sequence.last})
            async for text in socket:
                self._heard, self._pinged = time.monotonic(), False
                if self._frame(text):
                    self._phase = "live"
                    await self._catch_up()
                    self._live.set()
                    self._status("connected")
                await self._room.wait()
        except ConnectionClosed:
            pass
        finally:
            self._live.clear()
            ticker.cancel()
            await asyncio.gather(ticker, return_exceptions=True)
            if self._socket is socket:
                self._socket = None
                socket.transport.abort()
        raise _Ended(self._why or f"closed with {socket.close_code} {socket.close_reason or ''}".strip())

    # --- Receiving ---

    def _frame(self, text: Any) -> bool:
        """One frame. True: the session is there, and all that was missed has come."""
        try:
            event = json.loads(text)
        except ValueError:
            return False
        name = event.get("event") if isinstance(event, dict) else None
        if name is None or name in ("system.connected", "system.heartbeat"):
            return False
        metadata = event.get("metadata") or {}
        code = metadata.get("code")
        if name == "system.error" and code == "ROUTING_FAILED":
            self._routing_failed(event, metadata)
        if self._phase == "greeting":
            return self._greeted(event, metadata)
        if event.get("session_id") not in (None, self.id):
            return False
        seq = event.get("seq")
        if isinstance(seq, int):
            self._numbered(event, seq)
            return False
        if name == "system.notice" and code == "replay":
            self._sequence.replayed()
            return self._phase == "replaying"
        if name == "system.notice" and code == "replay_gap":
            self._sequence.gap(metadata.get("to_seq") or 0)
        if name == "agent.error" and code in ("SESSION_NOT_FOUND", "SESSION_LOST", "SESSION_UNAVAILABLE"):
            self._not_now(str(event.get("content")), metadata)
            raise self._lost(code, str(event.get("content")))
        self._push(Item(event, self._sequence.last))
        if name == "system.notice" and code == "session_moved":
            raise self._lost("SESSION_MOVED", "the session goes on in another client")
        return False

    def _routing_failed(self, event: Event, metadata: dict) -> None:
        self._refusals += 1
        text = str(event.get("content"))
        if not metadata.get("recoverable") and (not self._begun.done() or self._refusals >= MAX_REFUSALS):
            raise self._lost("ROUTING_FAILED", text)
        raise _Ended(text, seconds(metadata))

    def _greeted(self, event: Event, metadata: dict) -> bool:
        name, text = event["event"], str(event.get("content"))
        code = metadata.get("code") or name
        if self.id is None:
            if name == "agent.session_created":
                self.id, self.agent_name = event["session_id"], metadata.get("agent_name")
                self._sequence.begin(event.get("seq") or 0)
                self._seen = self._acked = self._sequence.last
                self._came_on()
                self._begin()
                return True
            if name in ("agent.error", "system.error"):
                self._not_now(text, metadata)
                raise ConnectFailed(code, text)
            return False
        if name == "agent.state_restored":
            self._phase = "replaying"
            running, waiting = metadata.get("running"), metadata.get("waiting")
            busy = None if running is None else int(bool(running)) + int(waiting or 0)
            if isinstance(metadata.get("open_steps"), list):
                self._steps = metadata["open_steps"]
            # Not at the end of the replay: it may be longer than what may wait here for who waits for us.
            self._begin()
            behind = self._sequence.last
            last_seq = metadata.get("last_seq", behind)
            self._turns.restored(last_seq, busy)
            if self._sequence.restored(last_seq):
                lost = {"code": "rewound", "from_seq": self._sequence.last + 1, "to_seq": behind}
                event = {"event": "system.notice", "content": "the server has lost what it said last", "metadata": lost}
                self._push(Item(event, self._sequence.last))
            return False
        if name in ("error.recovery_failed", "agent.error", "system.error"):
            self._not_now(text, metadata)
            raise self._lost(code, text)
        return False

    @staticmethod
    def _not_now(text: str, metadata: dict) -> None:
        """Tries again later, if that is what the server says."""
        if metadata.get("recoverable") and "retry_after_ms" in metadata:
            raise _Ended(text, seconds(metadata))

    def _numbered(self, event: Event, seq: int) -> None:
        before = self._sequence.last
        verdict = self._sequence.take(seq)
        if verdict == SEEN:
            return
        if verdict == GAP:
            self._gaps += 1
            if self._gaps < MAX_GAPS:
                raise _Ended(f"event {seq} came after {before}")
            # The server has not got them either, and does not say so.
            missing = {"code": "replay_gap", "from_seq": before + 1, "to_seq": seq - 1}
            notice = {"event": "system.notice", "content": "these events did not come", "metadata": missing}
            self._sequence.gap(seq - 1)
            self._sequence.take(seq)
            self._push(Item(notice, before))
        self._came_on()
        turn, ends = self._turns.event(event)
        if ends == self._cancel:
            self._cancel = 0
        if ends:
            self._responses.clear()
        self._push(Item(event, seq, turn, ends))
        if event["event"] == "agent.session_end":
            raise self._lost("SESSION_ENDED", str(event.get("content")))

    def _came_on(self) -> None:
        """There is progress: what went wrong before is over."""
        self._backoff.reset()
        self._refusals = self._gaps = 0

    def _begin(self) -> None:
        if not self._begun.done():
            self._begun.set_result(None)


def seconds(metadata: dict) -> float:
    """`retry_after_ms` within reason."""
    wanted = metadata.get("retry_after_ms")
    return min(max(wanted / 1000, 0.0), 60.0) if isinstance(wanted, (int, float)) else 0.0
