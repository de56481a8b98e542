"""Secrets over HTTP: what Wrangler's commands send, and what must never come back."""

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from tests.api.platform import SCRIPTS, Answer, PlatformTestCase
from workerd_faas.api.multipart import parse_multipart
from workerd_faas.domain.model import Code
from workerd_faas.store.ties import SQLTies
from workerd_faas.store.vault import FernetVault
from workerd_faas.testing.fakes import AcceptingChecker, RefusingChecker
from workerd_faas.usecases.loading import StoredVersions

TEXT = "correct horse battery staple"
LATEST = SCRIPTS.replace("/scripts", "/workers") + "/hello/versions/latest"
A_MAP = ("index.js.map", "application/source-map", b"{}")
WASM = ("./lib/add.wasm", "application/wasm", b"\0asm\1\0\0\0")


def secret(name: str, text: str = TEXT) -> dict[str, str]:
    """
    A secret as it is sent.
    """
    return {"name": name, "text": text, "type": "secret_text"}


class SecretsTestCase(PlatformTestCase):
    """
    With a function `hello`, and everything that is logged or answered held against the secret.
    """

    async def setUp(self) -> None:  # type: ignore[override]
        """
        See the base class.
        """
        await super().setUp()
        self.logged: list[str] = []
        observer: Any = lambda event: self.logged.append(repr(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.answered: list[bytes] = []
        self.addCleanup(self.assert_nothing_leaked)

    def assert_nothing_leaked(self) -> None:
        """
        The secret's text is in no answer, no log event and no file.
        """
        self.assertNotIn(TEXT, "".join(self.logged))
        self.assertNotIn(TEXT.encode(), b"".join(self.answered))
        for file in self.bundle_directory.parent.rglob("*"):
            if file.is_file():
                self.assertNotIn(TEXT.encode(), file.read_bytes(), str(file))

    async def ask(self, method: str, path: str, **more: Any) -> Answer:
        """
        See the base class.
        """
        answer = await super().ask(method, path, **more)
        self.answered.append(answer.body)
        return answer

    async def put(self, name: str, text: str = TEXT) -> Answer:
        """
        `wrangler secret put`.
        """
        return await self.ask("PUT", f"{SCRIPTS}/hello/secrets", json_body=secret(name, text))

    async def names(self) -> list[str]:
        """
        `wrangler secret list`.
        """
        found = (await self.ask("GET", f"{SCRIPTS}/hello/secrets")).result
        for each in found:
            self.assertEqual(each.keys(), {"name", "type"})
            self.assertEqual(each["type"], "secret_text")
        return [each["name"] for each in found]

    async def newest(self) -> dict[str, Any]:
        """
        The newest version.
        """
        listed = (await self.ask("GET", f"{SCRIPTS}/hello/versions")).result
        newest: dict[str, Any] = listed["items"][0]
        return newest

    async def serving(self) -> list[str]:
        """
        Ids of the versions that are deployed.
        """
        listed = (await self.ask("GET", f"{SCRIPTS}/hello/deployments")).result
        return [each["version_id"] for each in listed["deployments"][0]["versions"]]

    async def env(self) -> dict[str, Any]:
        """
        What the newest version is given when a cell loads it.
        """
        loader = StoredVersions(
            catalog=self.catalog,
            secrets=self.secrets,
            bundles=self.bundles,
            routes=self.routes,
            ties=SQLTies(self.database),
        )
        document = await loader.load_document("a" * 32, (await self.newest())["id"])
        length = int.from_bytes(document[4:8], "big")
        env: dict[str, Any] = json.loads(document[8 : 8 + length])["env"]
        return env

    def checked(self) -> Code:
        """
        What the upload check was shown last.
        """
        assert isinstance(self.checker, AcceptingChecker)
        return self.checker.seen[-1][1]


class UploadTests(SecretsTestCase):
    """
    Secrets that come with an upload.
    """

    async def test_an_uploaded_secret_reaches_the_function_and_nobody_else(self) -> None:
        """
        The check and the function see the text; versions, settings and lists have the name alone.
        """
        uploaded = await self.upload("/hello", bindings=[secret("KEY")])
        self.answered.append(uploaded.body)
        self.assertEqual(self.checked().env, {"KEY": TEXT})
        self.assertEqual(await self.env(), {"KEY": TEXT})
        self.assertEqual(await self.names(), ["KEY"])
        shown = (await self.newest())["resources"]["bindings"]
        self.assertEqual(shown, [{"name": "KEY", "type": "secret_text"}])

    async def test_a_deploy_keeps_secrets_as_wrangler_asks(self) -> None:
        """
        `keep_bindings` carries secrets over from the newest version, and a sent one replaces one.
        """
        await self.upload("/hello", bindings=[secret("A"), secret("B")])
        keep = ["secret_text", "secret_key"]
        await self.upload("/hello/versions", keep_bindings=keep, bindings=[secret("B", "new")])
        await self.upload("/hello/versions", keep_bindings=keep)
        self.assertEqual(await self.env(), {"A": TEXT, "B": "new"})

    async def test_a_deploy_drops_secrets_only_when_it_says_so(self) -> None:
        """
        Without `keep_bindings`, as older Wranglers deploy, secrets stay; an empty list drops them.
        """
        await self.upload("/hello", bindings=[secret("A"), secret("B")])
        await self.upload("/hello/versions", bindings=[secret("B", "new")])
        self.assertEqual(await self.env(), {"A": TEXT, "B": "new"})
        await self.upload("/hello/versions", keep_bindings=[])
        self.assertEqual(await self.env(), {})

    async def test_a_secret_is_inherited_by_name(self) -> None:
        """
        `inherit` takes a secret over, and one that is not there is refused as Wrangler expects.
        """
        await self.upload("/hello", bindings=[secret("A"), secret("B")])
        inherit = [{"name": "B", "type": "inherit"}]
        await self.upload("/hello/versions", bindings=inherit, keep_bindings=[])
        self.assertEqual(await self.env(), {"B": TEXT})
        refused = await self.upload("/hello", bindings=[{"name": "A", "type": "inherit"}])
        self.assertEqual(refused.error, (400, 10057, "inherit binding 'A' is invalid"))

    async def test_a_secret_without_text_is_refused(self) -> None:
        """
        The refusal names the binding.
        """
        refused = await self.upload("/hello", bindings=[{"name": "A", "type": "secret_text"}])
        self.assertEqual(refused.error[1], 10004)
        self.assertIn("'A'", refused.error[2])

    async def test_secrets_count_towards_the_size_of_env(self) -> None:
        """
        More than a function can be given is refused.
        """
        large = "x" * (self.limits.env // 2)
        await self.upload("/hello")
        self.assertEqual((await self.put("A", large)).status, 200)
        self.assertEqual((await self.put("B", large)).error[1], 10027)


class ChangeTests(SecretsTestCase):
    """
    `wrangler secret …`: a new version, deployed at once.
    """

    async def test_a_change_makes_a_version_and_deploys_it(self) -> None:
        """
        put and delete each make a version with the newest one's code and serve it at 100 %.
        """
        await self.upload(
            "/hello",
            ("index.js", A_MAP[1].replace("source-map", "javascript+module"), b"1"),
            bindings=[{"name": "V", "type": "plain_text", "text": "v"}],
        )
        first = await self.newest()
        self.assertEqual((await self.put("KEY")).result, {"name": "KEY", "type": "secret_text"})
        second = await self.newest()
        self.assertNotEqual(first["id"], second["id"])
        self.assertEqual(second["annotations"]["workers/triggered_by"], "secret")
        self.assertEqual(
            second["resources"]["script"]["etag"], first["resources"]["script"]["etag"]
        )
        self.assertEqual(await self.serving(), [second["id"]])
        self.assertEqual(await self.env(), {"V": "v", "KEY": TEXT})
        deleted = await self.ask("DELETE", f"{SCRIPTS}/hello/secrets/KEY?url_encoded=true")
        self.assertEqual(deleted.status, 200)
        self.assertEqual(await self.env(), {"V": "v"})
        self.assertEqual(await self.serving(), [(await self.newest())["id"]])

    async def test_many_change_in_one_version(self) -> None:
        """
        A bulk request sets and removes in one version; what it does not name stays.
        """
        await self.upload("/hello", bindings=[secret("STAYS"), secret("GOES"), secret("NEW")])
        body = {"secrets": {"NEW": secret("NEW", "2"), "GOES": None, "NEVER": None}}
        answer = await self.ask("PATCH", f"{SCRIPTS}/hello/secrets-bulk", json_body=body)
        self.assertEqual(answer.status, 200)
        self.assertEqual(await self.env(), {"STAYS": TEXT, "NEW": "2"})
        self.assertEqual((await self.newest())["number"], 2)
        await self.ask("PATCH", f"{SCRIPTS}/hello/secrets-bulk", json_body={"secrets": {}})
        self.assertEqual((await self.newest())["number"], 2)

    async def test_a_change_is_refused_while_the_newest_version_waits(self) -> None:
        """
        With an undeployed newest version put, delete and bulk fail with 10215 and change nothing.
        """
        await self.upload("/hello", bindings=[secret("A")])
        serving = await self.serving()
        await self.upload("/hello/versions", keep_bindings=["secret_text"])
        bulk = {"secrets": {"A": None}}
        for answer in (
            await self.put("B"),
            await self.ask("DELETE", f"{SCRIPTS}/hello/secrets/A"),
            await self.ask("PATCH", f"{SCRIPTS}/hello/secrets-bulk", json_body=bulk),
        ):
            self.assertEqual(answer.error[1], 10215)
        self.assertEqual(await self.serving(), serving)
        self.assertEqual((await self.newest())["number"], 2)

    async def test_a_newest_version_with_a_share_will_do(self) -> None:
        """
        A change during a gradual deployment of the newest version goes to 100 %.
        """
        await self.upload("/hello")
        old = (await self.newest())["id"]
        await self.upload("/hello/versions")
        new = (await self.newest())["id"]
        shares = [{"version_id": old, "percentage": 90}, {"version_id": new, "percentage": 10}]
        await self.ask("POST", f"{SCRIPTS}/hello/deployments", json_body={"versions": shares})
        self.assertEqual((await self.put("A")).status, 200)
        self.assertEqual(await self.serving(), [(await self.newest())["id"]])

    async def test_mistakes_are_told_by_their_codes(self) -> None:
        """
        A missing Worker, an unknown secret, a taken name and a wrong body have codes of their own.
        """
        self.assertEqual((await self.put("A")).error[1], 10007)
        self.assertEqual((await self.ask("GET", f"{SCRIPTS}/hello/secrets")).error[1], 10007)
        bulk = f"{SCRIPTS}/hello/secrets-bulk"
        body: Any = {"secrets": {"A": secret("A")}}
        self.assertEqual((await self.ask("PATCH", bulk, json_body=body)).error[1], 10007)
        await self.upload("/hello", bindings=[{"name": "V", "type": "plain_text", "text": "v"}])
        deleted = await self.ask("DELETE", f"{SCRIPTS}/hello/secrets/GONE")
        self.assertEqual(deleted.error[1], 10056)
        self.assertEqual((await self.ask("DELETE", f"{SCRIPTS}/hello/secrets/V")).error[1], 10056)
        self.assertEqual((await self.put("V")).error[1], 10053)
        for wrong in ({}, {"name": "A"}, {**secret("A"), "type": "plain_text"}):
            refused = await self.ask("PUT", f"{SCRIPTS}/hello/secrets", json_body=wrong)
            self.assertEqual(refused.status, 400, wrong)
        for body in ({}, {"secrets": []}, {"secrets": {"A": "text"}}, {"secrets": {"A": 1}}):
            self.assertEqual((await self.ask("PATCH", bulk, json_body=body)).status, 400)
        many = {"secrets": {f"S{n}": None for n in range(101)}}
        self.assertEqual((await self.ask("PATCH", bulk, json_body=many)).status, 400)

    async def test_another_account_sees_and_changes_nothing(self) -> None:
        """
        Neither with its own account's path nor with ours can a stranger get at secrets.
        """
        await self.upload("/hello", bindings=[secret("A")])
        for path in (SCRIPTS, SCRIPTS.replace("a" * 32, "b" * 32)):
            for method, rest, body in (
                ("GET", "secrets", None),
                ("PUT", "secrets", secret("B")),
                ("DELETE", "secrets/A", None),
                ("PATCH", "secrets-bulk", {"secrets": {"A": None}}),
                ("GET", "content/v2", None),
            ):
                answer = await self.ask(
                    method, f"{path}/hello/{rest}", bearer="bob", json_body=body
                )
                self.assertIn(answer.status, (403, 404), (method, rest))
        self.assertEqual(await self.names(), ["A"])

    async def test_changes_at_once_lose_none(self) -> None:
        """
        Secrets that are put at the same time are all there afterwards.
        """
        await self.upload("/hello")
        puts = [Deferred.fromCoroutine(self.put(f"S{number}")) for number in range(8)]
        for put in puts:
            self.assertEqual((await put).status, 200)
        self.assertEqual(sorted(await self.names()), [f"S{number}" for number in range(8)])

    async def test_a_lost_key_is_told_and_nothing_is_changed(self) -> None:
        """
        Without its key a stored secret fails a change that keeps it, by a message for the operator.
        """
        await self.upload("/hello", bindings=[secret("A")])
        other = "7Z8s5l0bM9mQm3bqk9m9J6hZBqv0uE2Xr1H3m0rX5bY="
        self.making.secrets = type(self.secrets)(
            catalog=self.catalog, vault=FernetVault(lambda: [other])
        )
        self.assertEqual((await self.put("B")).error[:2], (500, 10513))
        self.assertEqual((await self.newest())["number"], 1)


class RefusedChangeTests(SecretsTestCase):
    """
    A change with which the code does not load.
    """

    async def test_a_change_that_breaks_the_code_is_refused(self) -> None:
        """
        When the check refuses, the version before goes on serving and no version is made.
        """
        await self.upload("/hello")
        serving = await self.serving()
        self.making.checker = RefusingChecker("Uncaught Error: bad secret")
        self.assertEqual((await self.put("A")).error[1], 10021)
        self.assertEqual(await self.serving(), serving)
        self.assertEqual((await self.newest())["number"], 1)


class LatestTests(SecretsTestCase):
    """
    `wrangler versions secret …`: a new version, not deployed.
    """

    async def test_a_patch_makes_a_version_that_is_not_deployed(self) -> None:
        """
        Set and removed in one version, with message and tag, and the deployment goes on.
        """
        await self.upload("/hello", bindings=[secret("GOES"), secret("STAYS")])
        serving = await self.serving()
        body = {
            "env": {"NEW": {"type": "secret_text", "text": TEXT}, "GOES": None},
            "annotations": {"workers/message": "why", "workers/tag": "t"},
        }
        made = (await self.ask("PATCH", LATEST, json_body=body)).result
        newest = await self.newest()
        self.assertEqual(made["id"], newest["id"])
        self.assertEqual(newest["annotations"]["workers/message"], "why")
        self.assertEqual(newest["annotations"]["workers/tag"], "t")
        self.assertEqual(await self.env(), {"STAYS": TEXT, "NEW": TEXT})
        self.assertEqual(await self.serving(), serving)

    async def test_only_values_can_be_patched(self) -> None:
        """
        A binding that names something is refused by its name, since only uploads look it up.
        """
        await self.upload("/hello")
        body: Any = {"env": {"META": {"type": "version_metadata"}}}
        self.assertIn("'META'", (await self.ask("PATCH", LATEST, json_body=body)).error[2])
        for body in ({"env": []}, {"env": {"A": "x"}}, {"other": 1}):
            self.assertEqual((await self.ask("PATCH", LATEST, json_body=body)).status, 400)

    async def test_without_a_version_there_is_nothing_to_patch(self) -> None:
        """
        The answer has the code by which Wrangler explains it.
        """
        answer = await self.ask("PATCH", LATEST, json_body={"env": {}})
        self.assertEqual(answer.error[1], 10222)


class RollbackTests(SecretsTestCase):
    """
    Going back over changed secrets.
    """

    async def test_going_back_over_changed_secrets_needs_force(self) -> None:
        """
        It fails with 10220 and the names, and succeeds with `force=true`.
        """
        await self.upload("/hello", bindings=[secret("SAME"), secret("OTHER", "1")])
        old = (await self.newest())["id"]
        await self.put("OTHER", "2")
        await self.put("ADDED")
        body = {"versions": [{"version_id": old, "percentage": 100}]}
        path = f"{SCRIPTS}/hello/deployments"
        refused = await self.ask("POST", path, json_body=body)
        self.assertEqual(refused.error[1], 10220)
        self.assertEqual(refused.error[2], "The following secrets have changed: ADDED, OTHER")
        forced = await self.ask("POST", f"{path}?force=true", json_body=body)
        self.assertEqual(forced.status, 200)
        self.assertEqual(await self.serving(), [old])

    async def test_other_deployments_need_none(self) -> None:
        """
        Going forward to changed secrets, or back over the same ones sent anew, is not held up.
        """
        await self.upload("/hello", bindings=[secret("A")])
        old = (await self.newest())["id"]
        await self.upload("/hello", bindings=[secret("A")])
        path = f"{SCRIPTS}/hello/deployments"
        back = {"versions": [{"version_id": old, "percentage": 100}]}
        self.assertEqual((await self.ask("POST", path, json_body=back)).status, 200)
        body = {"env": {"B": {"type": "secret_text", "text": "b"}}}
        made = (await self.ask("PATCH", LATEST, json_body=body)).result["id"]
        forward = {"versions": [{"version_id": made, "percentage": 100}]}
        self.assertEqual((await self.ask("POST", path, json_body=forward)).status, 200)


class OlderWranglerTests(SecretsTestCase):
    """
    What Wranglers before 4.100 ask.
    """

    async def patch_settings(self, document: Any) -> Answer:
        """
        `PATCH settings` as undici writes it.
        """
        body = (
            b'--BB\r\nContent-Disposition: form-data; name="settings"\r\n\r\n'
            + json.dumps(document).encode()
            + b"\r\n--BB--\r\n"
        )
        headers = {"Content-Type": "multipart/form-data; boundary=BB"}
        return await self.ask("PATCH", f"{SCRIPTS}/hello/settings", body=body, headers=headers)

    async def test_settings_take_the_whole_list(self) -> None:
        """
        Entries of name and type alone stay, others are set, what is not listed goes.
        """
        plain = {"name": "V", "type": "plain_text", "text": "v"}
        await self.upload(
            "/hello",
            bindings=[
                plain,
                secret("A"),
                secret("GOES"),
                {"name": "M", "type": "version_metadata"},
            ],
        )
        listed = [
            {"name": "V", "type": "plain_text"},
            {"name": "A", "type": "secret_text"},
            {"name": "M", "type": "version_metadata"},
            secret("B", "b"),
        ]
        answer = await self.patch_settings({"bindings": listed})
        self.assertEqual(len(answer.result["bindings"]), 4)
        self.assertEqual(await self.env(), {"V": "v", "A": TEXT, "B": "b"})
        self.assertEqual(await self.serving(), [(await self.newest())["id"]])

    async def test_settings_refuse_what_they_cannot_do(self) -> None:
        """
        Another setting, a missing binding to inherit and a new resource are refused.
        """
        await self.upload("/hello")
        documents: list[Any] = [
            {},
            [],
            {"bindings": 1},
            {"bindings": [], "logpush": True},
            {"bindings": [{"name": "A", "type": "inherit"}]},
            {"bindings": [{"name": "A", "type": "secret_text"}]},
            {"bindings": [{"name": "M", "type": "version_metadata"}]},
        ]
        for document in documents:
            self.assertEqual((await self.patch_settings(document)).status, 400, document)

    async def test_content_comes_back_as_it_was_uploaded(self) -> None:
        """
        All modules, source maps too, with their types, the main one first and named in a header.
        """
        main = ("index.js", "application/javascript+module", b"export default {}")
        await self.upload("/hello", A_MAP, WASM, main)
        await self.upload("/hello/versions", ("index.js", main[1], b"newer"))
        old = (await self.ask("GET", f"{SCRIPTS}/hello/versions")).result["items"][1]["id"]
        answer = await self.ask("GET", f"{SCRIPTS}/hello/content/v2?version={old}")
        self.assertEqual(answer.headers.getRawHeaders("cf-entrypoint"), ["index.js"])
        (content_type,) = answer.headers.getRawHeaders("content-type")
        parts = parse_multipart(content_type, answer.body, max_parts=9)
        self.assertEqual(
            [(part.name, part.content_type, part.content) for part in parts],
            [main, A_MAP, ("lib/add.wasm", *WASM[1:])],
        )
        newest = await self.ask("GET", f"{SCRIPTS}/hello/content/v2")
        self.assertIn(b"newer", newest.body)
        missing = await self.ask("GET", f"{SCRIPTS}/hello/content/v2?version=x")
        self.assertEqual(missing.status, 404)
