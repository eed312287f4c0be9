"""The client against a server that plays a script: one for each connection, in order."""

import asyncio
import json
import unittest

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from myagent_client import ConnectFailed, MessageUnknown, SessionLost, connect

QUICK = {"first_delay": 0.01, "max_delay": 0.05}


class Connection:
    """The server's end of a connection."""

    def __init__(self, socket):
        self.socket = socket
        self.path = socket.request.path

    async def say(self, *events):
        for event in events:
            await self.socket.send(json.dumps(event))

    async def hear(self, name):
        """The next event of this name; those before it are passed over."""
        while True:
            event = json.loads(await self.socket.recv())
            if event.get("event", event.get("type")) == name:
                return event

    def cut(self):
        self.socket.transport.abort()


class Server:
    def __init__(self, *scripts):
        self.scripts = list(scripts)
        self.paths, self.failures = [], []

    async def __aenter__(self):
        self.server = await serve(self.play, "127.0.0.1", 0)
        self.url = "ws://127.0.0.1:%d/s/test" % self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind, *_):
        self.server.close()
        await self.server.wait_closed()
        if kind is None:
            assert not self.failures, self.failures
            assert not self.scripts, f"{len(self.scripts)} connections never came"

    async def play(self, socket):
        self.paths.append(socket.request.path)
        if not self.scripts:
            self.failures.append("a connection too many")
            return
        script = self.scripts.pop(0)
        try:
            await script(Connection(socket))
            await socket.wait_closed()
        except ConnectionClosed as closed:
            self.failures.append(f"the client left: {closed}")
        except AssertionError as failed:
            self.failures.append(str(failed))


def event(seq, name="agent.partial_answer", content="", **metadata):
    return {"event": name, "session_id": "s", "seq": seq, "content": content or str(seq), "metadata": metadata}


def final(seq):
    return event(seq, "agent.final_answer")


def notice(code, **metadata):
    return {"event": "system.notice", "session_id": "s", "content": code, "metadata": {"code": code, **metadata}}


CREATED = event(1, "agent.session_created", agent_name="test")
REPLAYED = notice("replay")


def restored(last, **metadata):
    return {"event": "agent.state_restored", "session_id": "s", "metadata": {"last_seq": last, **metadata}}


async def create(client):
    await client.say({"event": "system.connected"})
    await client.hear("user.create_session")
    await client.say(CREATED)


def create_and(then):
    async def script(client):
        await create(client)
        await then(client)

    return script


def numbers(events):
    return [event["seq"] for event in events if "seq" in event]


async def collect(events):
    return [event async for event in events]


class Sessions(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.statuses = []

    async def connect(self, server, **options):
        options = {**QUICK, "on_status": lambda status, why: self.statuses.append(status), **options}
        return await asyncio.wait_for(connect(server.url, **options), 30)

    async def within(self, coroutine):
        return await asyncio.wait_for(coroutine, 30)

    async def test_an_answer_over_three_connections(self):
        async def first(client):
            self.assertEqual((await client.hear("user.message"))["content"], "hello")
            await client.say(event(2), event(3))
            client.cut()

        async def second(client):
            self.assertEqual(client.path, "/s/test?session_id=s")
            self.assertEqual(await client.hear("user.reconnect"), {"event": "user.reconnect", "session_id": "s", "last_seq": 3})
            # Doubled, and cut in the middle of the replay.
            await client.say(restored(6, running=True, waiting=0), event(3), event(4))
            client.cut()

        async def third(client):
            self.assertEqual((await client.hear("user.reconnect"))["last_seq"], 4)
            await client.say(restored(6, running=True, waiting=0), event(5), event(6), REPLAYED, event(7), final(8))

        async with Server(create_and(first), second, third) as server:
            async with await self.connect(server, params=None) as session:
                self.assertEqual((session.id, session.agent_name), ("s", "test"))
                events = await self.within(collect(session.ask("hello")))
                self.assertEqual(numbers(events), [2, 3, 4, 5, 6, 7, 8])
                self.assertEqual(session.state, {"session_id": "s", "last_seq": 8})
        self.assertEqual(self.statuses, ["connected", "reconnecting", "reconnecting", "connected", "closed"])

    async def test_a_gap_is_fetched_and_one_that_stays_is_told(self):
        async def first(client):
            await client.hear("user.message")
            await client.say(event(2), event(4), final(5))

        async def again(client):
            self.assertEqual((await client.hear("user.reconnect"))["last_seq"], 2)
            await client.say(restored(5, running=False), event(4), final(5), REPLAYED)

        async with Server(create_and(first), again, again) as server:
            async with await self.connect(server) as session:
                events = await self.within(collect(session.ask("hello")))
                self.assertEqual(numbers(events), [2, 4, 5])
                self.assertEqual(events[1]["metadata"], {"code": "replay_gap", "from_seq": 3, "to_seq": 3})

    async def test_what_is_no_longer_kept_and_what_was_lost(self):
        async def first(client):
            await client.hear("user.message")
            await client.say(event(2))
            client.cut()

        async def gap(client):
            await client.hear("user.reconnect")
            gap = notice("replay_gap", from_seq=3, to_seq=9)
            await client.say(restored(10, running=True), gap, event(10), REPLAYED, event(11))
            client.cut()

        async def rewound(client):
            self.assertEqual((await client.hear("user.reconnect"))["last_seq"], 11)
            await client.say(restored(10, running=True), REPLAYED, final(11))

        async with Server(create_and(first), gap, rewound) as server:
            async with await self.connect(server) as session:
                events = await self.within(collect(session.ask("hello")))
                codes = [event.get("seq") or event["metadata"]["code"] for event in events]
                self.assertEqual(codes, [2, "replay_gap", 10, 11, "rewound", 11])

    async def test_the_end_of_a_session_is_told_at_once(self):
        async def first(client):
            await client.hear("user.message")
            client.cut()

        async def not_yet(client):
            await client.hear("user.reconnect")
            metadata = {"code": "NOT_READY", "recoverable": True, "retry_after_ms": 1}
            await client.say({"event": "error.recovery_failed", "content": "not yet", "metadata": metadata})

        async def not_now(client):
            await client.hear("user.reconnect")
            await client.say(restored(1, running=True, waiting=0), REPLAYED)
            metadata = {"code": "SESSION_UNAVAILABLE", "recoverable": True, "retry_after_ms": 1}
            await client.say({"event": "agent.error", "content": "not now", "metadata": metadata})

        async def never(client):
            await client.hear("user.reconnect")
            metadata = {"code": "SESSION_NOT_FOUND", "recoverable": True}
            await client.say({"event": "error.recovery_failed", "content": "no such session", "metadata": metadata})

        async with Server(create_and(first), not_yet, not_now, never) as server:
            async with await self.connect(server) as session:
                with self.assertRaises(SessionLost) as lost:
                    await self.within(collect(session.ask("hello")))
                self.assertEqual((lost.exception.code, lost.exception.state), ("SESSION_NOT_FOUND", {"session_id": "s", "last_seq": 1}))
                with self.assertRaises(SessionLost):
                    await self.within(session.post("again"))
        async with Server(never) as server:
            with self.assertRaises(SessionLost):
                await self.connect(server, state={"session_id": "s", "last_seq": 4})

    async def test_a_session_that_moved_is_not_fought_for(self):
        async def first(client):
            await client.hear("user.message")
            await client.say(event(2), notice("session_moved"))

        async with Server(create_and(first)) as server:
            async with await self.connect(server) as session:
                seen = []
                with self.assertRaises(SessionLost) as lost:
                    async for one in session.ask("hello"):
                        seen.append(one["metadata"].get("code", one.get("seq")))
                self.assertEqual((seen, lost.exception.code), ([2, "session_moved"], "SESSION_MOVED"))

    async def test_a_message_that_nobody_answered(self):
        async def lose(client):
            await client.hear("user.message")
            client.cut()

        async def nothing_said(client):
            await client.hear("user.reconnect")
            await client.say(restored(1), REPLAYED)
            await lose(client)

        async def nothing_there(client):
            await client.hear("user.reconnect")
            await client.say(restored(1, running=False, waiting=0), REPLAYED)
            await lose(client)

        async def answered(client):
            await client.hear("user.reconnect")
            await client.say(restored(3, running=False, waiting=0), event(2), final(3), REPLAYED)

        async with Server(create_and(lose), nothing_said, nothing_there, answered) as server:
            async with await self.connect(server) as session:
                for received in (None, False):
                    with self.assertRaises(MessageUnknown) as unknown:
                        await self.within(collect(session.ask("hello")))
                    self.assertIs(unknown.exception.received, received)
                    self.assertEqual(unknown.exception.content, "hello")
                self.assertEqual(numbers(await self.within(collect(session.ask("hello")))), [2, 3])

    async def test_messages_are_sent_again_if_asked_for_and_not_for_ever(self):
        async def lose(client):
            await client.hear("user.message")
            client.cut()

        async def again(client):
            await client.hear("user.reconnect")
            await client.say(restored(1, running=False, waiting=0), REPLAYED)
            await lose(client)

        async def unanswered(client):
            await client.hear("user.reconnect")
            await client.say(restored(1, running=False, waiting=0), REPLAYED)
            await client.hear("user.message")
            await client.say(final(2))

        async with Server(create_and(lose), again, unanswered) as server:
            async with await self.connect(server, resend="unreceived") as session:
                self.assertEqual(numbers(await self.within(collect(session.ask("hello")))), [2])

        async def silent(client):
            await client.hear("user.reconnect")
            await client.say(restored(1), REPLAYED)

        async with Server(create_and(lose), again, again, silent) as server:
            async with await self.connect(server, resend="always") as session:
                await self.within(session.post("breaks each connection"))
                async for one in session.events():
                    self.assertEqual(one["event"], "client.message_unknown")
                    break

    async def test_being_turned_away(self):
        def refused(recoverable):
            async def script(client):
                metadata = {"code": "ROUTING_FAILED", "recoverable": recoverable, "retry_after_ms": 20}
                await client.say({"event": "system.error", "content": "nobody there", "metadata": metadata})
                await client.socket.close(1013)

            return script

        async def cut(client):
            client.cut()

        async with Server(refused(True), create) as server:
            started = asyncio.get_running_loop().time()
            await (await self.connect(server)).close()
            self.assertGreaterEqual(asyncio.get_running_loop().time(), started + 0.02)
        async with Server(refused(False)) as server:
            with self.assertRaises(ConnectFailed) as failed:
                await self.connect(server)
            self.assertEqual(failed.exception.code, "ROUTING_FAILED")
        # A service that is not there any more may come back with its manager, but not for ever.
        async with Server(create_and(cut), *[refused(False)] * 3) as server:
            async with await self.connect(server) as session:
                with self.assertRaises(SessionLost) as lost:
                    await self.within(collect(session.events()))
                self.assertEqual(lost.exception.code, "ROUTING_FAILED")

    async def test_nobody_there(self):
        server = await serve(lambda socket: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        with self.assertRaises(ConnectFailed) as failed:
            await self.within(connect(f"ws://127.0.0.1:{port}/", connect_timeout=0.1, **QUICK))
        self.assertEqual(failed.exception.code, "UNREACHABLE")
        with self.assertRaises(ConnectFailed) as failed:
            await self.within(connect("http://no.socket/", **QUICK))
        self.assertEqual(failed.exception.code, "INVALID_URL")

    async def test_acknowledgements(self):
        async def script(client):
            await client.hear("user.message")
            await client.say(*[event(seq) for seq in range(2, 12)], final(12))
            ack = await client.hear("user.ack")
            self.assertEqual((ack["session_id"], ack["content"]["last_seq"] >= 11), ("s", True))
            await client.say(notice("seen"))

        for options in ({"ack_events": 10, "ack_seconds": 60.0}, {"ack_events": 1000, "ack_seconds": 0.1}):
            async with Server(create_and(script)) as server:
                async with await self.connect(server, **options) as session:
                    await self.within(collect(session.ask("hello")))
                    async for one in session.events():
                        self.assertEqual(one["metadata"]["code"], "seen")
                        break

    async def test_a_silent_server_is_left(self):
        async def script(client):
            for _ in range(2):
                await client.hear("ping")
                await client.say({"type": "pong"})
            await client.hear("ping")

        async def second(client):
            await client.hear("user.reconnect")
            await client.say(restored(1), REPLAYED, notice("back"))

        async with Server(create_and(script), second) as server:
            async with await self.connect(server, silence=0.1, pong=0.3) as session:
                async for one in session.events():
                    self.assertEqual(one["metadata"]["code"], "back")
                    break

    async def test_cancel_and_respond_are_sent_again(self):
        async def first(client):
            await client.hear("user.message")
            await client.say({**event(2, "agent.user_confirm"), "step_id": "one"})
            await client.hear("user.response")
            client.cut()

        async def second(client):
            await client.hear("user.reconnect")
            await client.say(restored(2, running=True, open_steps=["one"]), REPLAYED)
            response = await client.hear("user.response")
            self.assertEqual((response["step_id"], response["content"]), ("one", "yes"))
            await client.say(event(3))
            await client.hear("user.cancel")
            client.cut()

        async def third(client):
            await client.hear("user.reconnect")
            await client.say(restored(3, running=True, open_steps=[]), REPLAYED)
            self.assertEqual(json.loads(await client.socket.recv())["event"], "user.cancel")
            await client.say(event(4, "agent.interrupted", reason="user_cancel"))

        async with Server(create_and(first), second, third) as server:
            async with await self.connect(server) as session:
                names = []
                async for one in session.ask("hello"):
                    names.append(one["event"])
                    if one["seq"] == 2:
                        await session.respond("one", "yes")
                    if one["seq"] == 3:
                        await session.cancel()
                self.assertEqual(names[-1], "agent.interrupted")
                self.assertFalse(session.answering)

    async def test_a_slow_application_gets_everything(self):
        async def script(client):
            await client.hear("user.message")
            for seq in range(2, 200):
                await client.say(event(seq, content="x" * 1000))
            await client.say(final(200))

        async with Server(create_and(script)) as server:
            async with await self.connect(server, queue=10) as session:
                seen = []
                async for one in session.ask("hello"):
                    seen.append(one["seq"])
                    await asyncio.sleep(0)
                    self.assertLessEqual(len(session._items), 10)
                self.assertEqual(seen, list(range(2, 201)))

    async def test_a_session_that_was_left_in_the_middle_of_an_answer(self):
        async def running(client):
            self.assertEqual((await client.hear("user.reconnect"))["last_seq"], 4)
            await client.say(restored(6, running=True), event(5), event(6), REPLAYED, event(7), final(8))
            await client.hear("user.message")
            await client.say(final(9))

        async def over(client):
            await client.hear("user.reconnect")
            await client.say(restored(5, running=False), final(5), REPLAYED)

        for script, expected in ((running, [5, 6, 7, 8]), (over, [5])):
            async with Server(script) as server:
                async with await self.connect(server, state={"session_id": "s", "last_seq": 4}) as session:
                    self.assertEqual(numbers(await self.within(collect(session.rest()))), expected)
                    self.assertEqual(await self.within(collect(session.rest())), [])
                    if script is running:
                        self.assertEqual(numbers(await self.within(collect(session.ask("more")))), [9])

    async def test_an_answer_that_was_left_is_passed_over(self):
        async def script(client):
            await client.hear("user.message")
            await client.say(event(2), event(3))
            await client.hear("user.message")
            await client.say(final(4), event(5), final(6))

        async with Server(create_and(script)) as server:
            async with await self.connect(server) as session:
                async for _ in session.ask("first"):
                    break
                self.assertEqual(numbers(await self.within(collect(session.ask("second")))), [5, 6])

    async def test_the_end(self):
        async def script(client):
            await client.hear("user.message")
            await client.say(event(2, "agent.session_end"))

        async with Server(create_and(script)) as server:
            session = await self.connect(server)
            with self.assertRaises(SessionLost) as lost:
                await self.within(collect(session.ask("hello")))
            self.assertEqual(lost.exception.code, "SESSION_ENDED")
            await session.close()

        async def refuse(client):
            await client.hear("user.create_session")
            await client.say({"event": "agent.error", "content": "no", "metadata": {"code": "SESSION_FAILED"}})

        async with Server(create) as server:
            session = await self.connect(server)
            everything = asyncio.create_task(collect(session.events()))
            await asyncio.sleep(0)
            await session.close()
            self.assertEqual(await self.within(everything), [])
            with self.assertRaises(SessionLost):
                await session.post("too late")
        async with Server(refuse) as server:
            with self.assertRaises(ConnectFailed) as failed:
                await self.connect(server)
            self.assertEqual(failed.exception.code, "SESSION_FAILED")


if __name__ == "__main__":
    unittest.main()
