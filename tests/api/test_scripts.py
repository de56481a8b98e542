"""The script routes, through HTTP."""

import json
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, gatherResults

from tests.api.platform import ESM, INDEX, SCRIPTS, PlatformTestCase
from workerd_faas.domain.errors import Problem
from workerd_faas.testing.fakes import RefusingChecker
from workerd_faas.usecases.ports import Checker
from workerd_faas.wire.bundle import decode_bundle


class UploadTests(PlatformTestCase):
    """
    Uploading and deploying.
    """

    async def test_put_uploads_and_deploys(self) -> None:
        """
        One PUT stores a version and lets it serve; the answer names it as Wrangler expects.
        """
        result = (await self.upload("/hello")).result
        self.assertEqual(self.routes.resolve("hello", None, 0).version_id, result["deployment_id"])
        self.assertEqual(result["urls"]["function"], "http://hello.faas.test:8080")
        prefix = result["deployment_id"][:8]
        self.assertEqual(result["urls"]["version"], f"http://{prefix}.hello.faas.test:8080")

    async def test_a_script_is_not_called_modules(self) -> None:
        """
        The answer to an upload tells modules from a service-worker script.
        """
        self.assertIs((await self.upload("/hello")).result["has_modules"], True)
        script = ("script", "application/javascript", b"addEventListener('fetch', () => {})")
        answer = await self.upload("/old", script, main_module=None, body_part="script")
        self.assertIs(answer.result["has_modules"], False)

    async def test_post_uploads_without_deploying(self) -> None:
        """
        A version that was only uploaded answers on its own host and not on the function's.
        """
        await self.upload("/hello")
        before = self.routes.resolve("hello", None, 0)
        result = (await self.upload("/hello/versions")).result
        self.assertEqual(result["number"], 2)
        self.assertEqual(self.routes.resolve("hello", None, 0), before)
        self.assertEqual(self.routes.resolve("hello", result["id"], 0).version_id, result["id"])

    async def test_every_route_is_also_below_client_v4(self) -> None:
        """
        The same upload works below Cloudflare's path.
        """
        await self.upload("/hello")
        answer = await self.ask("GET", f"/client/v4{SCRIPTS}/hello/versions")
        self.assertEqual(len(answer.result["items"]), 1)

    async def test_bytes_are_stored_as_they_came(self) -> None:
        """
        Binary, empty and nested modules and source maps are in the bundle, untouched.
        """
        modules = (
            INDEX,
            ("all.bin", "application/octet-stream", bytes(range(256))),
            ("deep/er/empty.txt", "text/plain", b""),
            ("index.js.map", "application/source-map", b"{}"),
        )
        result = (await self.upload("/hello/versions", *modules)).result
        stored = decode_bundle(await self.bundles.get(result["resources"]["script"]["etag"]))
        self.assertEqual(
            [(m.name, m.content) for m in stored.modules], [(m[0], m[2]) for m in modules]
        )

    async def test_the_same_upload_twice_is_harmless(self) -> None:
        """
        A repeated upload makes another version of the same bundle.
        """
        one = (await self.upload("/hello/versions")).result
        two = (await self.upload("/hello/versions")).result
        self.assertNotEqual(one["id"], two["id"])
        self.assertEqual(one["resources"]["script"]["etag"], two["resources"]["script"]["etag"])

    async def test_uploads_at_once_are_all_numbered(self) -> None:
        """
        Twenty uploads of one function at once give twenty versions, one of which is deployed.
        """
        uploads = [Deferred.fromCoroutine(self.upload("/hello")) for _ in range(20)]
        answers = await gatherResults(uploads)
        ids = {answer.result["deployment_id"] for answer in answers}
        listed = (await self.ask("GET", f"{SCRIPTS}/hello/versions")).result["items"]
        self.assertEqual({item["id"] for item in listed}, ids)
        self.assertEqual(sorted(item["number"] for item in listed), list(range(1, 21)))
        deployments = (await self.ask("GET", f"{SCRIPTS}/hello/deployments")).result["deployments"]
        serving = self.routes.resolve("hello", None, 0).version_id
        self.assertEqual(deployments[0]["versions"], [{"version_id": serving, "percentage": 100}])

    async def test_of_accounts_that_want_a_name_at_once_one_gets_it(self) -> None:
        """
        All uploads of the first are stored, and those of the other are told that it is taken.
        """
        uploads = [
            Deferred.fromCoroutine(self.upload("/hello", bearer=bearer))
            for bearer in ("alice", "bob") * 4
        ]
        answers = await gatherResults(uploads)
        self.assertEqual(sorted(answer.status for answer in answers), [200] * 4 + [403] * 4)
        refused = {answer.error[1] for answer in answers if answer.status == 403}
        self.assertEqual(refused, {10012})

    async def test_an_upload_can_name_an_alias(self) -> None:
        """
        `workers/alias` sets the alias in the same step.
        """
        answer = await self.upload("/hello/versions", annotations={"workers/alias": "next"})
        self.assertEqual(self.routes.resolve("hello", "next", 0).version_id, answer.result["id"])
        self.assertEqual(
            answer.result["urls"]["aliases"], {"next": "http://next.hello.faas.test:8080"}
        )

    async def test_settings_without_effect_are_said(self) -> None:
        """
        What is accepted without effect is named in the messages.
        """
        answer = await self.upload("/hello", placement={"mode": "smart"})
        self.assertIn("placement", answer.document["messages"][0])

    async def test_bindings_come_back_and_can_be_kept(self) -> None:
        """
        Variables are shown with the version, and `keep_bindings` carries them over.
        """
        variables = [
            {"name": "A", "type": "plain_text", "text": "x"},
            {"name": "B", "type": "json", "json": {"n": [1]}},
        ]
        await self.upload("/hello", bindings=variables)
        kept = await self.upload("/hello/versions", keep_bindings=["plain_text", "json"])
        self.assertEqual(kept.result["resources"]["bindings"], variables)
        dropped = await self.upload("/hello/versions")
        self.assertEqual(dropped.result["resources"]["bindings"], [])

    async def test_a_bad_upload_leaves_nothing(self) -> None:
        """
        An upload that is refused creates neither function nor version nor bundle.
        """
        for answer in [
            await self.upload("/hello", ("../../evil/index.js", ESM, b"")),
            await self.upload("/hello", main_module="other.js"),
            await self.upload("/hello", bindings=[{"name": "X", "type": "ai"}]),
            await self.ask("PUT", f"{SCRIPTS}/hello", body=b"junk"),
            await self.ask("PUT", f"{SCRIPTS}/hello", json_body={}),
        ]:
            self.assertEqual(answer.status, 400)
            self.assertTrue(answer.error[2])
        self.assertEqual((await self.ask("GET", SCRIPTS)).result, [])
        self.assertFalse(self.bundle_directory.exists())

    async def test_bad_names_are_refused(self) -> None:
        """
        A function's name is a DNS label that is not reserved.
        """
        for name in ("UPPER", "a_b", "-a", "api", "..%2f..", "a%00b", "%ff", "x" * 64):
            answer = await self.upload(f"/{name}")
            self.assertIn(answer.status, {400, 404}, name)
        self.assertEqual((await self.ask("GET", SCRIPTS)).result, [])

    async def test_what_is_too_large_is_refused(self) -> None:
        """
        More code than allowed is a 413 with code 10027, a longer body a 413 at once.
        """
        big = ("b.bin", "application/octet-stream", bytes(self.limits.code))
        status, code, message = (await self.upload("/hello", INDEX, big)).error
        self.assertEqual((status, code), (413, 10027))
        self.assertIn("100000 are allowed", message)
        huge = ("b.bin", "application/octet-stream", bytes(self.limits.body))
        status, code, message = (await self.upload("/hello", INDEX, huge)).error
        self.assertEqual((status, code), (413, 10002))


class RefusedScriptTests(PlatformTestCase):
    """
    Code that does not load.
    """

    def make_checker(self) -> Checker:
        """
        See the base class.
        """
        return RefusingChecker()

    async def test_code_that_does_not_load_is_refused(self) -> None:
        """
        The check's message reaches the client with code 10021, and no version is made.
        """
        answer = await self.upload("/hello")
        self.assertEqual(
            answer.error,
            (400, 10021, "Uncaught SyntaxError: Unexpected identifier\n  at index.js:1:1"),
        )
        self.assertEqual((await self.ask("GET", SCRIPTS)).result, [])
        self.assertFalse(self.bundle_directory.exists())


class DeploymentTests(PlatformTestCase):
    """
    Deployments and aliases.
    """

    async def two_versions(self) -> tuple[str, str]:
        """
        Ids of two versions of `hello`, the first of which is deployed.
        """
        one = (await self.upload("/hello")).result["deployment_id"]
        return one, (await self.upload("/hello/versions")).result["id"]

    async def deploy(self, *splits: Any, **extra: Any) -> Any:
        """
        Ask for a deployment.
        """
        versions = [{"version_id": v, "percentage": p} for v, p in splits]
        return await self.ask(
            "POST",
            f"{SCRIPTS}/hello/deployments",
            json_body={"strategy": "percentage", "versions": versions, **extra},
        )

    async def test_shares_are_stored_and_routed(self) -> None:
        """
        A gradual deployment routes by percentage and is listed as the current one.
        """
        one, two = await self.two_versions()
        answer = await self.deploy((one, 90.5), (two, 9.5), annotations={"workers/message": "slow"})
        self.assertEqual(answer.result["annotations"]["workers/message"], "slow")
        self.assertEqual(self.routes.resolve("hello", None, 90).version_id, one)
        self.assertEqual(self.routes.resolve("hello", None, 91).version_id, two)
        listed = (await self.ask("GET", f"{SCRIPTS}/hello/deployments")).result["deployments"]
        self.assertEqual(len(listed), 2)
        self.assertEqual(listed[0]["id"], answer.result["id"])
        self.assertGreater(listed[0]["created_on"], listed[1]["created_on"])

    async def test_wrong_shares_are_refused(self) -> None:
        """
        Percentages that do not sum to 100, repeated or unknown versions change nothing.
        """
        one, two = await self.two_versions()
        unknown = "00000000-0000-4000-8000-000000000000"
        wrong: list[list[tuple[Any, Any]]] = [
            [], [(one, 99)], [(one, 50), (two, 51)], [(one, 50), (one, 50)],
            [(one, -1), (two, 101)],
            [(one, "100")], [(one, True)], [(one, None)], [(1, 100)], [(one[:8], 100)],
            [(one.upper(), 100)], [(one, 1e400)], [(one, 10**30)],
        ]  # fmt: skip
        for splits in wrong:
            answer = await self.deploy(*splits)
            self.assertEqual(answer.status, 400, splits)
        self.assertEqual((await self.deploy((unknown, 100))).error[:2], (404, 10008))
        self.assertEqual(self.routes.resolve("hello", None, 0).version_id, one)

    async def test_an_alias_moves_and_goes(self) -> None:
        """
        An alias can be set, read, moved, listed and removed.
        """
        one, two = await self.two_versions()
        path = f"{SCRIPTS}/hello/aliases"
        for version_id in (one, two):
            result = (
                await self.ask("PUT", f"{path}/next", json_body={"version_id": version_id})
            ).result
            self.assertEqual(result["url"], "http://next.hello.faas.test:8080")
            self.assertEqual(self.routes.resolve("hello", "next", 0).version_id, version_id)
        self.assertEqual((await self.ask("GET", f"{path}/next")).result["version_id"], two)
        self.assertEqual([a["name"] for a in (await self.ask("GET", path)).result], ["next"])
        self.assertIsNone((await self.ask("DELETE", f"{path}/next")).result)
        self.assertEqual((await self.ask("GET", f"{path}/next")).status, 404)
        self.assertEqual((await self.ask("DELETE", f"{path}/next")).status, 404)

    async def test_bad_aliases_are_refused(self) -> None:
        """
        A name that is no label, `latest`, and a missing version id are errors.
        """
        one, _ = await self.two_versions()
        path = f"{SCRIPTS}/hello/aliases"
        good = {"version_id": one}
        self.assertEqual((await self.ask("PUT", f"{path}/Nope", json_body=good)).status, 400)
        self.assertEqual((await self.ask("PUT", f"{path}/latest", json_body=good)).status, 400)
        self.assertEqual((await self.ask("PUT", f"{path}/next", json_body={})).status, 400)
        self.assertEqual((await self.ask("PUT", f"{path}/next", body=b"[]")).status, 400)

    async def test_a_function_has_so_many_aliases(self) -> None:
        """
        One more than may be is refused, by itself and with an upload, which stores nothing; those
        that are there move, and are listed in pages.
        """
        one, two = await self.two_versions()
        path = f"{SCRIPTS}/hello/aliases"
        with mock.patch("workerd_faas.store.catalog.MAX_ALIASES", 3):
            for name in ("a", "b", "c", "b"):
                put = await self.ask("PUT", f"{path}/{name}", json_body={"version_id": one})
                self.assertEqual(put.status, 200)
            refused = await self.ask("PUT", f"{path}/d", json_body={"version_id": two})
            self.assertEqual((refused.status, refused.error[1]), (400, 10145))
            self.assertIn("3 aliases", refused.error[2])
            upload = await self.upload("/hello/versions", annotations={"workers/alias": "d"})
            self.assertEqual((upload.status, upload.error[1]), (400, 10145))
            moved = await self.upload("/hello/versions", annotations={"workers/alias": "c"})
            self.assertEqual(moved.status, 200)
        listed = (await self.ask("GET", f"{SCRIPTS}/hello/versions")).result["items"]
        self.assertEqual([each["id"] for each in listed], [moved.result["id"], two, one])
        pages = [await self.ask("GET", f"{path}?per_page=2&page={page}") for page in (1, 2, 3)]
        names = [[each["name"] for each in page.result] for page in pages]
        self.assertEqual(names, [["a", "b"], ["c"], []])

    async def test_a_versions_address_stays_its_own(self) -> None:
        """
        What begins another version's id is no alias, neither by itself nor with an upload.
        """
        one, two = await self.two_versions()
        path, good = f"{SCRIPTS}/hello/aliases", {"version_id": one}
        refused = await self.ask("PUT", f"{path}/{two[:8]}", json_body=good)
        self.assertEqual(refused.status, 400)
        self.assertIn(two, refused.error[2])
        self.assertEqual((await self.ask("PUT", f"{path}/{one[:8]}", json_body=good)).status, 200)
        upload = await self.upload("/hello/versions", annotations={"workers/alias": two[:8]})
        self.assertEqual(upload.status, 400)
        self.assertEqual(self.routes.resolve("hello", two[:8], 0).version_id, two)

    async def test_hosts_can_be_closed(self) -> None:
        """
        What Wrangler sets by `workers_dev` and `preview_urls` holds at once, and is told.
        """
        one, _ = await self.two_versions()
        path = f"{SCRIPTS}/hello/subdomain"
        everything = {"enabled": True, "previews_enabled": True}
        self.assertEqual((await self.ask("GET", path)).result, everything)
        for sent, then in (
            ({"enabled": False}, (False, False)),
            ({"enabled": False, "previews_enabled": True}, (False, True)),
            ({"enabled": True, "previews_enabled": False}, (True, False)),
            ({}, (True, True)),
        ):
            answer = (await self.ask("POST", path, json_body=sent)).result
            self.assertEqual((answer["enabled"], answer["previews_enabled"]), then)
            self.assertEqual((await self.ask("GET", path)).result, answer)
            for selector, is_open in zip((None, one), then, strict=True):
                try:
                    self.routes.resolve_host("hello", selector, 0)
                    self.assertTrue(is_open)
                except Problem:
                    self.assertFalse(is_open)
        wrong = await self.ask("POST", path, json_body={"enabled": "yes"})
        self.assertEqual(wrong.status, 400)
        self.assertEqual((await self.ask("POST", path, bearer="bob", json_body={})).status, 403)

    async def test_a_closed_host_stays_closed_over_a_restart(self) -> None:
        """
        What was closed is closed in what the store gives at the start, and after another upload.
        """
        await self.two_versions()
        await self.ask("POST", f"{SCRIPTS}/hello/subdomain", json_body={"enabled": False})
        await self.upload("/hello")
        self.routes.load(await self.catalog.routes())
        self.assertIsNone(self.routes.sole("hello"))
        with self.assertRaises(Problem):
            self.routes.resolve_host("hello", None, 0)

    async def test_a_deleted_function_is_gone(self) -> None:
        """
        After DELETE nothing of it is listed or routed, and its cells are told.
        """
        one, two = await self.two_versions()
        self.assertIsNone((await self.ask("DELETE", f"{SCRIPTS}/hello")).result)
        self.assertIsNone(self.routes.owner("hello"))
        self.assertEqual({version for _, version in self.cells.removed}, {one, two})
        self.assertEqual((await self.ask("GET", f"{SCRIPTS}/hello")).error[:2], (404, 10007))
        self.assertEqual((await self.ask("DELETE", f"{SCRIPTS}/hello")).error[:2], (404, 10007))


class AccessTests(PlatformTestCase):
    """
    Who may do what.
    """

    async def test_no_route_answers_without_a_credential(self) -> None:
        """
        Without a valid bearer every route says 401 before it looks at anything else.
        """
        for bearer in (None, "nobody"):
            for method, path in [
                ("GET", SCRIPTS), ("GET", f"{SCRIPTS}/x"), ("PUT", f"{SCRIPTS}/x"),
                ("DELETE", f"{SCRIPTS}/x"), ("GET", f"{SCRIPTS}/x/versions"),
                ("POST", f"{SCRIPTS}/x/versions"), ("GET", f"{SCRIPTS}/x/versions/y"),
                ("POST", f"{SCRIPTS}/x/deployments"), ("GET", f"{SCRIPTS}/x/deployments"),
                ("PUT", f"{SCRIPTS}/x/aliases/y"), ("GET", f"{SCRIPTS}/x/aliases"),
            ]:  # fmt: skip
                answer = await self.ask(method, path, bearer=bearer, body=b"{")
                self.assertEqual(answer.error[:2], (401, 10000), path)
                self.assertTrue(answer.headers.hasHeader("www-authenticate"))

    async def test_anothers_account_is_forbidden_whatever_it_has(self) -> None:
        """
        Paths of another account answer 403 alike for names that exist and that do not.
        """
        one = (await self.upload("/hello")).result["deployment_id"]
        deployment = {"versions": [{"version_id": one, "percentage": 100}]}
        for name in ("hello", "nothing"):
            path = f"{SCRIPTS}/{name}"
            answers = [
                await self.ask(method, path + rest, bearer="bob", json_body=document)
                for method, rest, document in [
                    ("GET", "", None), ("DELETE", "", None), ("GET", "/versions", None),
                    ("GET", f"/versions/{one}", None), ("GET", "/deployments", None),
                    ("POST", "/deployments", deployment), ("GET", "/aliases", None),
                    ("PUT", "/aliases/x", {"version_id": one}), ("DELETE", "/aliases/x", None),
                ]
            ]  # fmt: skip
            self.assertEqual({answer.status for answer in answers}, {403})
            self.assertEqual(len({answer.body for answer in answers}), 1)
        self.assertEqual((await self.ask("GET", SCRIPTS, bearer="bob")).status, 403)

    async def test_anothers_account_is_forbidden_before_anything_is_read(self) -> None:
        """
        Every route below another's account is the same 403, though its body would be a 400.
        """
        asked, bodies = 0, set()
        for rule in self.api.rules():
            if "<account>" not in rule.rule or "/workers/assets/upload" in rule.rule:
                continue
            path = rule.rule.replace("<account>", "a" * 32)
            for argument in rule.arguments:
                path = path.replace(f"<{argument}>", "x").replace(f"<path:{argument}>", "x")
            for method in sorted((rule.methods or set()) - {"HEAD"}):
                answer = await self.ask(method, path, bearer="bob", body=b"{")
                self.assertEqual(answer.error[:2], (403, 10003), (method, path))
                bodies.add(answer.body)
                asked += 1
        self.assertGreater(asked, 20)
        self.assertEqual(len(bodies), 1)

    async def test_anothers_name_looks_like_none_from_ones_own_account(self) -> None:
        """
        Reading another's function through one's own account is a 404, taking its name a 403.
        """
        await self.upload("/hello")
        mine = f"/accounts/{'b' * 32}/workers/scripts"
        known = await self.ask("GET", f"{mine}/hello", bearer="bob")
        unknown = await self.ask("GET", f"{mine}/nothing", bearer="bob")
        self.assertEqual(known.body, unknown.body)
        self.assertEqual(known.error[:2], (404, 10007))
        taken = await self.upload("/hello", bearer="bob")
        self.assertEqual(taken.status, 403)
        self.assertEqual((await self.ask("GET", mine, bearer="bob")).result, [])

    async def test_lists_have_pages(self) -> None:
        """
        `page` and `per_page` are honoured, and a page after the last is empty.
        """
        for name in ("a", "b", "c"):
            await self.upload(f"/{name}")
        answer = await self.ask("GET", f"{SCRIPTS}?page=2&per_page=2")
        self.assertEqual([f["id"] for f in answer.result], ["c"])
        self.assertEqual(
            answer.document["result_info"],
            {"page": 2, "per_page": 2, "count": 1, "total_count": 3, "total_pages": 2},
        )
        self.assertEqual((await self.ask("GET", f"{SCRIPTS}?page=9")).result, [])
        for query in ("page=0", "page=x", "page=1&page=2", "per_page=1001", "page=%ff"):
            self.assertEqual((await self.ask("GET", f"{SCRIPTS}?{query}")).status, 400, query)


class OddRequestTests(PlatformTestCase):
    """
    Requests that nobody should send.
    """

    async def test_odd_paths_and_bodies_are_errors_in_the_envelope(self) -> None:
        """
        Unknown paths, wrong methods, bad UTF-8 and deep JSON get the envelope and a 4xx.
        """
        deployments = f"{SCRIPTS}/hello/deployments"
        for expected, method, path, body in [
            (404, "GET", "/nothing", None),
            (404, "GET", "/client/v5/health", None),
            (404, "GET", f"{SCRIPTS}//", None),
            (405, "PATCH", SCRIPTS, None),
            (400, "GET", "/%ff", None),
            (400, "GET", "/a%00b", None),
            (400, "POST", deployments, b"[" * 100_000),
            (400, "POST", deployments, b'{"a":' * 100_000),
            (400, "POST", deployments, b"\xff"),
            (400, "POST", deployments, b""),
            (413, "POST", deployments, b"x" * (3 << 20)),
        ]:
            answer = await self.ask(method, path, body=body)
            self.assertEqual(answer.status, expected, (method, path))
            self.assertTrue(answer.error[2])
            self.assertNotIn(b"Traceback", answer.body)

    async def test_json_is_read_whatever_its_label(self) -> None:
        """
        JSON sent as text/plain is JSON.
        """
        one = (await self.upload("/hello")).result["deployment_id"]
        answer = await self.ask(
            "PUT",
            f"{SCRIPTS}/hello/aliases/next",
            body=json.dumps({"version_id": one}).encode(),
            headers={"Content-Type": "text/plain;charset=UTF-8"},
        )
        self.assertEqual(answer.result["version_id"], one)


class HomeTests(PlatformTestCase):
    """
    The page and the health.
    """

    async def test_a_browser_gets_a_page_with_the_commands(self) -> None:
        """
        The page names the three commands, has no script and a strict policy.
        """
        answer = await self.ask("GET", "/", bearer=None, headers={"Accept": "text/html,*/*"})
        for text in (
            b"wrkst config set-url http://faas.test:8080",
            b"wrkst login",
            b"wrkst deploy",
        ):
            self.assertIn(text, answer.body)
        self.assertNotIn(b"<script", answer.body)
        policy = answer.headers.getRawHeaders("content-security-policy")[0]
        self.assertIn("frame-ancestors 'none'", policy)

    async def test_health_says_how_the_parts_are(self) -> None:
        """
        Health is 200 while all parts are well and 503 as soon as one is not.
        """
        answer = await self.ask("GET", "/health", bearer=None)
        self.assertEqual((answer.status, answer.document["status"]), (200, "healthy"))
        self.health["runtime"] = {"ok": False, "reason": "no cell starts"}
        answer = await self.ask("GET", "/client/v4/health", bearer=None)
        self.assertEqual((answer.status, answer.document["status"]), (503, "unhealthy"))
        self.assertEqual(answer.document["runtime"]["reason"], "no cell starts")
