"""Tails and the log over HTTP."""

from typing import Any

from tests.api.platform import SCRIPTS, PlatformTestCase
from tests.logs.reports import NOW, exception, trace
from workerd_faas.domain.routing import Route
from workerd_faas.usecases.logs.tails import MAX_PER_FUNCTION

ALICE = "a" * 32
LOGS = f"/accounts/{ALICE}/workers/logs"


class TailApiTests(PlatformTestCase):
    """
    `…/tails`.
    """

    async def test_a_tail_is_made_listed_and_deleted(self) -> None:
        """
        The answer has what Wrangler needs; the token is in it and in no list.
        """
        await self.upload("/hello")
        made = (await self.ask("POST", f"{SCRIPTS}/hello/tails", body=b'{"filters": []}')).result
        self.assertTrue(
            made["url"].startswith(f"ws://faas.test:8080/tails/{made['id']}?token="), made["url"]
        )
        self.assertTrue(made["expires_at"].endswith("Z"))
        listed = await self.ask("GET", f"{SCRIPTS}/hello/tails")
        self.assertEqual([tail["id"] for tail in listed.result], [made["id"]])
        self.assertNotIn(b"token", listed.body)
        for _ in range(2):
            deleted = await self.ask("DELETE", f"{SCRIPTS}/hello/tails/{made['id']}")
            self.assertIsNone(deleted.result)
        self.assertEqual((await self.ask("GET", f"{SCRIPTS}/hello/tails")).result, [])

    async def test_refusals(self) -> None:
        """
        A missing function, filters that are none and one tail too many each say what is wrong.
        """
        missing = await self.ask("POST", f"{SCRIPTS}/hello/tails", json_body={})
        self.assertEqual(missing.error[:2], (404, 10007))
        await self.upload("/hello")
        wrong = await self.ask(
            "POST", f"{SCRIPTS}/hello/tails", json_body={"filters": [{"colour": "blue"}]}
        )
        self.assertEqual(wrong.status, 400)
        self.assertIn("colour", wrong.error[2])
        for _ in range(MAX_PER_FUNCTION):
            await self.ask("POST", f"{SCRIPTS}/hello/tails", json_body={})
        many = await self.ask("POST", f"{SCRIPTS}/hello/tails", json_body={})
        self.assertEqual(many.status, 429)
        self.assertTrue(many.headers.hasHeader("retry-after"))

    async def test_a_plain_request_for_the_socket_is_refused(self) -> None:
        """
        What is no handshake gets an answer, with a good token too, and does not use it up.
        """
        await self.upload("/hello")
        made = (await self.ask("POST", f"{SCRIPTS}/hello/tails", json_body={})).result
        path = made["url"].partition(":8080")[2]
        for _ in range(2):
            self.assertEqual((await self.ask("GET", path, bearer=None)).status, 400)


class LogApiTests(PlatformTestCase):
    """
    `…/logs`.
    """

    async def say(self, name: str, *said: Any, **changes: Any) -> None:
        """
        A function says something.
        """
        version = (await self.ask("GET", f"{SCRIPTS}/{name}/versions")).result["items"][0]["id"]
        self.log.invocation(Route(ALICE, name, version), trace(*said, **changes), NOW)

    async def test_questions(self) -> None:
        """
        Each parameter finds what it says, in the function's log and in the account's.
        """
        await self.upload("/one")
        await self.upload("/two")
        await self.say("one", "first")
        await self.say("two", "second", exceptions=[exception()], outcome="exception")
        await self.say("one", "third", eventTimestamp=NOW + 1000)

        async def said(path: str) -> list[Any]:
            found = (await self.ask("GET", path)).result
            return [event["logs"][0]["message"][0] for event in found]

        self.assertEqual(await said(f"{SCRIPTS}/one/logs"), ["third", "first"])
        self.assertEqual(await said(LOGS), ["third", "second", "first"])
        self.assertEqual(await said(f"{LOGS}?script=two"), ["second"])
        self.assertEqual(await said(f"{LOGS}?level=exception,error"), ["second"])
        self.assertEqual(await said(f"{LOGS}?outcome=exception"), ["second"])
        self.assertEqual(await said(f"{LOGS}?text=IRS"), ["first"])
        self.assertEqual(await said(f"{LOGS}?since={NOW + 1}"), ["third"])
        self.assertEqual(await said(f"{LOGS}?until=2020-01-01T00:00:00Z"), [])
        self.assertEqual(await said(f"{LOGS}?request_id=0123456789abcdef&script=two"), ["second"])
        self.assertEqual(await said(f"{LOGS}?version=zzz"), [])
        page = await self.ask("GET", f"{LOGS}?limit=2")
        cursor = page.document["result_info"]["cursor"]
        self.assertEqual(page.document["result_info"]["count"], 2)
        rest = await self.ask("GET", f"{LOGS}?limit=2&cursor={cursor}")
        self.assertEqual(rest.result[0]["logs"][0]["message"], ["first"])
        self.assertEqual(rest.document["result_info"], {"count": 1, "cursor": ""})

    async def test_what_is_no_question_is_refused(self) -> None:
        """
        A parameter that cannot be meant is a 400 that names it.
        """
        for query in (
            "level=loud",
            "since=yesterday",
            "since=2026-11-23T12:00:00",
            "until=99999999999999999999",
            "limit=0",
            "limit=1001",
            "cursor=x",
            "text=" + "x" * 1001,
        ):
            answer = await self.ask("GET", f"{LOGS}?{query}")
            self.assertEqual(answer.status, 400, query)
            self.assertIn(query.partition("=")[0], answer.error[2])

    async def test_another_account_reads_nothing(self) -> None:
        """
        Neither through the owner's paths nor through its own.
        """
        await self.upload("/one")
        await self.say("one", "mine")
        for path in (LOGS, f"{SCRIPTS}/one/logs", f"{SCRIPTS}/one/tails"):
            self.assertEqual((await self.ask("GET", path, bearer="bob")).status, 403)
            self.assertEqual((await self.ask("GET", path, bearer=None)).status, 401)
        own = LOGS.replace(ALICE, "b" * 32)
        self.assertEqual((await self.ask("GET", f"{own}?script=one", bearer="bob")).result, [])

    async def test_a_deleted_function_has_no_log(self) -> None:
        """
        Whoever gets its name next starts with an empty one.
        """
        await self.upload("/one")
        await self.say("one", "old")
        await self.ask("DELETE", f"{SCRIPTS}/one")
        await self.upload("/one")
        self.assertEqual((await self.ask("GET", f"{SCRIPTS}/one/logs")).result, [])
        self.assertEqual((await self.ask("GET", LOGS)).result, [])
