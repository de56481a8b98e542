"""Many keys at once, as the management API changes them, in a real state cell."""

import base64
import io
import json
from typing import Any

from tests.runtime.support import ACCOUNT
from tests.state.support import StateCase
from workerd_faas.runtime.state.fleet import StateFleet
from workerd_faas.usecases.storage.ports import StateQuestion

ODD: list[dict[str, Any]] = [
    {"key": 'a "quoted" \\ [key]', "value": '{"deep": [1, "\\\\\\"]"]}\u2028é😀\ud83d'},
    {"key": "b", "value": "", "metadata": {"x": [{"y": "]}"}, None]}},
    {"key": "c", "value": base64.b64encode(b"\0\xff").decode(), "base64": True},
]


class BulkTests(StateCase):
    """
    Arrays are read as they come.
    """

    async def ask(self, state: StateFleet, method: str, content: bytes) -> Any:
        """
        The answer to an array, or the error.
        """
        question = StateQuestion(
            kind="manage", id="ns", method=method, target="/kv/bulk", body=io.BytesIO(content)
        )
        answer = await state.ask(ACCOUNT, question)
        document = json.loads(answer.body)
        return document if answer.status == 200 else document["error"]

    async def value(self, state: StateFleet, key: str) -> bytes:
        """
        The value of a key.
        """
        question = StateQuestion(kind="kv", id="ns", method="GET", target=f"/{key}")
        return (await state.ask(ACCOUNT, question)).body

    async def test_more_than_fits_into_memory(self) -> None:
        """
        A hundred megabytes of pairs, values of the largest size among them, are stored, and the
        process is the same one in the end.
        """
        state = await self.state_fleet()
        pairs = [{"key": f"small{n}", "value": "v" * 13000} for n in range(1500)]
        pairs += [{"key": f"large{n}", "value": "w" * (25 << 20)} for n in range(3)]
        content = json.dumps(pairs).encode()
        self.assertGreater(len(content), 95_000_000)
        self.assertEqual(await self.ask(state, "POST", content), {"count": 1503})
        pid = self.pid(state)
        done = await self.ask(state, "PUT", content)
        self.assertEqual(done, {"done": 1503, "failed": []})
        self.assertEqual(len(await self.value(state, "large2")), 25 << 20)
        self.assertEqual(await self.value(state, "small1499"), b"v" * 13000)
        self.assertEqual(self.pid(state), pid)

    async def test_every_spelling_of_an_array(self) -> None:
        """
        Brackets, quotes and escapes in texts, spaces of all kinds and nothing at all.
        """
        state = await self.state_fleet()
        for content in (json.dumps(ODD, indent=3).encode(), json.dumps(ODD).encode()):
            self.assertEqual(await self.ask(state, "PUT", content), {"done": 3, "failed": []})
        self.assertEqual(await self.value(state, "c"), b"\0\xff")
        expected = ODD[0]["value"].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        found = await self.value(state, "a%20%22quoted%22%20%5C%20%5Bkey%5D")
        self.assertEqual(found.decode(), expected)
        self.assertEqual(await self.ask(state, "PUT", b" [ ] \n"), {"done": 0, "failed": []})

    async def test_what_is_no_array_of_pairs(self) -> None:
        """
        Each mistake is told.
        """
        state = await self.state_fleet()
        for content in (
            b"", b" ", b"{}", b"[", b"[{}", b"[}", b"[1,]", b"[,]", b"[] x", b"[]]", b'"["',
            b'[{"key": "a", "value": "v"}', b'[{"key": "a", "value": "v"} {}]', b'[{"key": "a}]',
            b'[{"key": "a", "value": "v", "more": 1}]', b'[{"key": "", "value": "v"}]', b"[null]",
        ):  # fmt: skip
            for method in ("POST", "PUT"):
                self.assertIsInstance(await self.ask(state, method, content), str, content)
        self.assertEqual(await self.value(state, "a"), b"")
