"""Settings of a function beside its versions, over real HTTP."""

from typing import Any

from tests.api.platform import SCRIPTS, PlatformTestCase

SETTINGS = f"{SCRIPTS}/hello/script-settings"
SERVICE = SCRIPTS.replace("scripts", "services/hello")
TAGS = ["cf:service=hello", "cf:environment=staging"]
OBSERVED = {"enabled": True, "head_sampling_rate": 0.5, "logs": {"invocation_logs": False}}


class UnversionedTests(PlatformTestCase):
    """
    Tags and observability.
    """

    async def settings(self) -> Any:
        """
        As `GET script-settings` shows them.
        """
        return (await self.ask("GET", SETTINGS)).result

    async def tags(self) -> Any:
        """
        As the first request of every deploy sees them.
        """
        service = (await self.ask("GET", SERVICE)).result
        return service["default_environment"]["script"]["tags"]

    async def test_what_was_sent_is_shown(self) -> None:
        """
        Tags and observability that Wrangler sends after a deploy come back wherever it asks, and a
        later version keeps them.
        """
        await self.upload("/hello")
        self.assertEqual(await self.tags(), [])
        self.assertEqual((await self.settings())["observability"], {"enabled": False})
        sent = {"tags": TAGS, "observability": OBSERVED}
        answered = await self.ask("PATCH", SETTINGS, json_body=sent)
        self.assertEqual(answered.result, {"logpush": False, "tail_consumers": None, **sent})
        await self.upload("/hello/versions", observability={"enabled": False}, tags=[])
        self.assertEqual(await self.settings(), answered.result)
        shown = (await self.ask("GET", f"{SCRIPTS}/hello/settings")).result
        self.assertEqual((shown["tags"], shown["observability"]), (TAGS, OBSERVED))
        self.assertEqual(await self.tags(), TAGS)

    async def test_what_is_not_named_stays(self) -> None:
        """
        A change of one setting leaves the other as it was; an empty list takes all tags away.
        """
        await self.upload("/hello", tags=TAGS, observability={"enabled": True})
        self.assertEqual(await self.tags(), TAGS)
        await self.ask("PATCH", SETTINGS, json_body={"observability": OBSERVED})
        self.assertEqual(await self.tags(), TAGS)
        await self.ask("PATCH", SETTINGS, json_body={"tags": [], "logpush": False})
        settings = await self.settings()
        self.assertEqual((settings["tags"], settings["observability"]), ([], OBSERVED))

    async def test_they_go_with_the_function(self) -> None:
        """
        A function of a name that was in use before has nothing of its predecessor's.
        """
        await self.upload("/hello", tags=TAGS)
        await self.ask("DELETE", f"{SCRIPTS}/hello")
        await self.upload("/hello")
        self.assertEqual(await self.tags(), [])

    async def test_what_is_wrong_changes_nothing(self) -> None:
        """
        Values that are none, and functions of others, are refused.
        """
        await self.upload("/hello", tags=TAGS)
        for wrong in (
            {"tags": "one"},
            {"tags": [""]},
            {"tags": [1]},
            {"tags": ["x"] * 101},
            {"tags": ["x" * 1025]},
            {"observability": True},
            {"observability": {"enabled": "yes"}},
            {"observability": {"enabled": True, "more": "x" * 4096}},
        ):
            refused = await self.ask("PATCH", SETTINGS, json_body=wrong)
            self.assertEqual(refused.error[:2], (400, 10004), wrong)
            refused = await self.upload("/hello", **wrong)
            self.assertEqual(refused.error[:2], (400, 10004), wrong)
        other = await self.ask("PATCH", SETTINGS, bearer="bob", json_body={"tags": []})
        self.assertEqual(other.status, 403)
        missing = f"{SCRIPTS}/nobody/script-settings"
        refused = await self.ask("PATCH", missing, json_body={"tags": []})
        self.assertEqual(refused.error[:2], (404, 10007))
        self.assertEqual(await self.tags(), TAGS)
