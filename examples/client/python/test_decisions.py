"""The decisions of the client, by the cases that the clients of all languages share."""

import json
import pathlib
import unittest

from myagent_client import Backoff, Message, Sequence, Turns, seconds, with_session

CASES = json.loads((pathlib.Path(__file__).parent.parent / "cases.json").read_text())


class Decisions(unittest.TestCase):
    def test_backoff(self):
        for case in CASES["backoff"]:
            backoff = Backoff(case["first"] / 1000, case["limit"] / 1000, lambda case=case: case["chance"])
            for _ in range(2):
                delays = [backoff.delay(at_least / 1000) for at_least in case["at_least"]]
                for delay, expected in zip(delays, case["delays"]):
                    self.assertAlmostEqual(delay, expected / 1000)
                backoff.reset()

    def test_retry_after(self):
        for metadata, expected in CASES["retry_after"]:
            self.assertEqual(seconds(metadata), expected / 1000, metadata)

    def test_with_session(self):
        for url, session, expected in CASES["with_session"]:
            self.assertEqual(with_session(url, session), expected)

    def test_sequence(self):
        for case in CASES["sequence"]:
            sequence = Sequence(case["last"])
            for name, *values in case["steps"]:
                with self.subTest(case["it"], step=[name, *values]):
                    if name == "last":
                        self.assertEqual([sequence.last], values)
                    elif name in ("take", "restored"):
                        self.assertEqual(getattr(sequence, name)(values[0]), values[1])
                    else:
                        getattr(sequence, name)(*values)

    def test_turns(self):
        for case in CASES["turns"]:
            turns = Turns()
            for name, *values in case["steps"]:
                with self.subTest(case["it"], step=[name, *values]):
                    if name == "send":
                        turns.sent(Message(values[0]))
                    elif name == "event":
                        self.assertEqual(list(turns.event(values[0])), values[1:])
                    elif name == "adopt":
                        self.assertEqual([turns.adopt()], values)
                    elif name == "restored":
                        turns.restored(*values)
                    elif name == "resumed":
                        lost = [[message.content, received] for message, received in turns.resumed()]
                        self.assertEqual([lost], values)
                    else:
                        self.assertEqual([message.content for message in turns.open], values[0])


if __name__ == "__main__":
    unittest.main()
