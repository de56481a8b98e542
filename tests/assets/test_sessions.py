"""Upload sessions over the API, with a real store."""

import base64
import json
from datetime import timedelta
from typing import Any

import jwt

from tests.api.platform import Answer, PlatformTestCase
from tests.assets.sites import hash_of, type_of
from tests.e2e.daemon import multipart
from workerd_faas.domain.limits import AssetQuota
from workerd_faas.usecases.sites.sessions import SESSIONS_FOLLOWED

ALICE = "a" * 32
BOB = "b" * 32
INDEX = "/index.html"


def manifest(files: dict[str, bytes]) -> dict[str, Any]:
    """
    The body that begins a session.
    """
    listed = {
        path: {"hash": hash_of(path, content), "size": len(content)}
        for path, content in files.items()
    }
    return {"manifest": listed}


class SessionTestCase(PlatformTestCase):
    """
    What the tests of sessions do.
    """

    async def begin(
        self,
        files: dict[str, bytes] | None = None,
        *,
        name: str = "site",
        account: str = ALICE,
        bearer: str = "alice",
        body: Any = None,
    ) -> Answer:
        """
        Begin a session.
        """
        path = f"/accounts/{account}/workers/scripts/{name}/assets-upload-session"
        document = manifest(files or {}) if body is None else body
        return await self.ask("POST", path, bearer=bearer, json_body=document)

    async def send(
        self,
        session: str,
        path: str,
        content: bytes,
        *,
        account: str = ALICE,
        digest: str | None = None,
        content_type: str | None = None,
    ) -> Answer:
        """
        Upload one file as it is.
        """
        return await self.ask(
            "POST",
            f"/accounts/{account}/workers/assets/upload/{digest or hash_of(path, content)}",
            bearer=session,
            body=content,
            headers={"content-type": content_type or type_of(path)},
        )

    async def whole(self, files: dict[str, bytes], name: str = "site") -> str:
        """
        A session that uploads everything; its completion token.
        """
        result = (await self.begin(files, name=name)).result
        token: str = result["jwt"]
        session = token
        missing = {digest for bucket in result["buckets"] for digest in bucket}
        for path, content in files.items():
            if hash_of(path, content) in missing:
                token = (await self.send(session, path, content)).result["jwt"] or token
        return token

    async def deploy(
        self, assets: Any, *, name: str = "site", main: str | None = None, **more: Any
    ) -> Answer:
        """
        Deploy a version with this `metadata.assets`.
        """
        metadata: dict[str, Any] = {"compatibility_date": "2026-11-01", **more}
        if assets is not None:
            metadata["assets"] = assets
        parts: list[tuple[str, str | None, bytes]] = []
        if main is not None:
            metadata["main_module"] = "index.js"
            parts.append(("index.js", "application/javascript+module", main.encode()))
        parts.insert(0, ("metadata", None, json.dumps(metadata).encode()))
        content_type, body = multipart(*parts)
        return await self.ask(
            "PUT",
            f"/accounts/{ALICE}/workers/scripts/{name}",
            body=body,
            headers={"content-type": content_type},
        )


class SessionTests(SessionTestCase):
    """
    What is missing, and taking it in.
    """

    async def test_only_what_is_missing_is_asked_for(self) -> None:
        """
        A second session asks for the changed file only, one without changes for nothing.
        """
        files = {INDEX: b"one", "/a.css": b"a", "/copy.css": b"a"}
        first = (await self.begin(files)).result
        asked = sorted(digest for bucket in first["buckets"] for digest in bucket)
        self.assertEqual(asked, sorted({hash_of(p, c) for p, c in files.items()}))
        await self.whole(files)
        changed = {**files, INDEX: b"two"}
        second = (await self.begin(changed)).result
        self.assertEqual(second["buckets"], [[hash_of(INDEX, b"two")]])
        same = (await self.begin(files)).result
        self.assertEqual(same["buckets"], [])
        deployed = await self.deploy({"jwt": same["jwt"]})
        self.assertEqual(
            (deployed.result["has_assets"], deployed.result["has_modules"]), (True, False)
        )

    async def test_another_account_does_not_learn_what_is_there(self) -> None:
        """
        A file that one account has is missing for another, which must upload its own.
        """
        files = {INDEX: b"secret plans"}
        await self.whole(files)
        theirs = await self.begin(files, account=BOB, bearer="bob", name="other")
        self.assertEqual(theirs.result["buckets"], [[hash_of(INDEX, b"secret plans")]])

    async def test_tokens_look_like_jwts_and_expire(self) -> None:
        """
        Wrangler can read the payload of the session's token; after an hour it is refused.
        """
        result = (await self.begin({INDEX: b"x"})).result
        claims = jwt.decode(result["jwt"], options={"verify_signature": False})
        self.assertEqual(claims["exp"] - claims["iat"], 3600)
        self.assertNotIn("wrangler_single_asset_uploads", claims)
        self.clock.moment += timedelta(hours=1)
        late = await self.send(result["jwt"], INDEX, b"x")
        self.assertEqual(late.error[:2], (401, 10303))
        self.assertTrue(late.headers.hasHeader("www-authenticate"))

    async def test_large_files_come_one_by_one(self) -> None:
        """
        When the missing files are large on average, Wrangler is told to send each by itself.
        """
        large = {f"/{i}.bin": bytes([i]) * 300_000 for i in range(3)}
        claims = jwt.decode(
            (await self.begin(large)).result["jwt"], options={"verify_signature": False}
        )
        self.assertIs(claims["wrangler_single_asset_uploads"], True)

    async def test_a_form_brings_many_files(self) -> None:
        """
        Files in base64 are stored as they were, with their types.
        """
        files = {INDEX: b"<h1>\xff</h1>", "/b": b""}
        result = (await self.begin(files)).result
        (bucket,) = result["buckets"]
        self.assertEqual(len(bucket), 2)
        content_type, body = multipart(
            (
                hash_of(INDEX, files[INDEX]),
                "text/html; charset=utf-8",
                base64.b64encode(files[INDEX]),
            ),
            (hash_of("/b", b""), "application/null", b""),
        )
        upload = f"/accounts/{ALICE}/workers/assets/upload"
        sent = await self.ask(
            "POST", upload + "?base64=true", bearer=result["jwt"], body=body,
            headers={"content-type": content_type},
        )  # fmt: skip
        self.assertEqual(sent.status, 201)
        await self.deploy({"jwt": sent.result["jwt"]})
        held = await self.asset_files.held(
            ALICE, {hash_of(p, c) for p, c in files.items()}, self.clock.now()
        )
        html = held[hash_of(INDEX, files[INDEX])]
        self.assertEqual((html.content_type, html.size), ("text/html; charset=utf-8", 10))
        self.assertIsNone(held[hash_of("/b", b"")].content_type)
        plain = await self.ask(
            "POST", upload, bearer=result["jwt"], body=body, headers={"content-type": content_type}
        )
        self.assertEqual(plain.status, 400)

    async def test_only_files_of_the_manifest_are_taken(self) -> None:
        """
        A file that the manifest does not name, or of another size than it says, is refused.
        """
        session = (await self.begin({INDEX: b"four"})).result["jwt"]
        unnamed = await self.send(session, "/else", b"four")
        self.assertEqual(unnamed.error[:2], (400, 10301))
        other = await self.send(session, INDEX, b"five!", digest=hash_of(INDEX, b"four"))
        self.assertEqual(other.error[:2], (400, 10301))
        self.assertIn("5 bytes; the manifest says 4", other.error[2])
        strange = await self.send(session, INDEX, b"four", digest="..%2f..%2fpasswd")
        self.assertIn(strange.status, (400, 404))
        typed = await self.send(session, INDEX, b"four", content_type="text/" + "x" * 200)
        self.assertEqual(typed.error[:2], (400, 10301))

    async def test_tokens_are_good_for_one_thing_each(self) -> None:
        """
        An API token, a forged one, a completion token, another account's path: none uploads; a
        session's token, and a completion token for another function, deploy nothing.
        """
        files = {INDEX: b"x"}
        session = (await self.begin(files)).result["jwt"]
        completion = (await self.send(session, INDEX, b"x")).result["jwt"]
        head, payload, _ = session.split(".")
        forged = jwt.encode({"account": ALICE}, "another key of thirty-two bytes!", "HS256")
        for token in ("alice", completion, f"{head}.{payload}.AAAA", forged, "", "a.b.c", "ü"):
            answer = await self.send(token, INDEX, b"x")
            self.assertEqual(answer.error[:2], (401, 10303), token)
        self.assertEqual((await self.send(session, INDEX, b"x", account=BOB)).status, 401)
        for token in (session, forged, "x"):
            self.assertEqual((await self.deploy({"jwt": token})).error[:2], (401, 10303))
        elsewhere = await self.deploy({"jwt": completion}, name="elsewhere")
        self.assertEqual(elsewhere.error[:2], (401, 10303))
        self.assertEqual((await self.deploy({"jwt": completion})).status, 200)

    async def test_a_version_needs_all_its_files(self) -> None:
        """
        A completion token does not help while a file is missing: no version is made. Who does not
        know any more what is missing gives one all the same.
        """
        files = {INDEX: b"x", "/other.css": b"y"}
        session = (await self.begin(files)).result["jwt"]
        for number in range(SESSIONS_FOLLOWED):
            await self.begin({INDEX: b"%d" % number})
        completion = (await self.send(session, INDEX, b"x")).result["jwt"]
        refused = await self.deploy({"jwt": completion})
        self.assertEqual(refused.error[:2], (400, 10304))
        self.assertIn("/other.css", refused.error[2])
        self.assertIsNone(self.routes.owner("site"))

    async def test_the_last_file_brings_the_completion_token(self) -> None:
        """
        While files are missing the answer is 202 and has no token; the last one, sent again too, is
        answered with 201 and the token.
        """
        files = {INDEX: b"x", "/a.css": b"a", "/b.css": b"b"}
        session = (await self.begin(files)).result["jwt"]
        for path in (INDEX, "/a.css", "/a.css"):
            answer = await self.send(session, path, files[path])
            self.assertEqual((answer.status, answer.result), (202, {"jwt": None}))
        another = (await self.begin(files, name="other")).result
        self.assertEqual(another["buckets"], [[hash_of("/b.css", b"b")]])
        for _ in range(2):
            answer = await self.send(session, "/b.css", b"b")
            self.assertEqual(answer.status, 201)
        self.assertEqual((await self.deploy({"jwt": answer.result["jwt"]})).status, 200)

    async def test_names_of_others_and_strangers_are_refused(self) -> None:
        """
        A session needs a right to the account and a name that is free or one's own.
        """
        files = {INDEX: b"x"}
        self.assertEqual((await self.begin(files, bearer="bob")).status, 403)
        self.assertEqual((await self.begin(files, name="Not_a_label!")).status, 400)
        await self.deploy({"jwt": await self.whole(files)})
        taken = await self.begin(files, account=BOB, bearer="bob")
        self.assertEqual(taken.error[:2], (403, 10012))

    async def test_an_installation_that_serves_no_sites_takes_none(self) -> None:
        """
        Without the asset worker a session is refused with what is missing.
        """
        self.asset_sessions.servable = False
        refused = await self.begin({INDEX: b"x"})
        self.assertEqual(refused.status, 400)
        self.assertIn("miniflare", refused.error[2])

    async def test_manifests_are_read_strictly(self) -> None:
        """
        Anything but paths with a hash and a size each is refused by name, and so is too much.
        """
        entry = {"hash": "0" * 32, "size": 1}
        for body, status in [
            ({}, 400),
            ({"manifest": []}, 400),
            ({"manifest": {"index.html": entry}}, 400),
            ({"manifest": {"/a\n": entry}}, 400),
            ({"manifest": {"/" + "x" * 2000: entry}}, 400),
            ({"manifest": {"/a": {"hash": "../" + "0" * 29, "size": 1}}}, 400),
            ({"manifest": {"/a": {"hash": "0" * 32}}}, 400),
            ({"manifest": {"/a": {"hash": "0" * 32, "size": True}}}, 400),
            ({"manifest": {"/a": {"hash": "0" * 32, "size": -1}}}, 400),
            ({"manifest": {"/a": entry, "/b": {"hash": "0" * 32, "size": 2}}}, 400),
            ({"manifest": {"/a": {"hash": "0" * 32, "size": (25 << 20) + 1}}}, 413),
            ({"manifest": {f"/{i}": entry for i in range(20_001)}}, 413),
            (
                {"manifest": {f"/{i}": {"hash": f"{i:032x}", "size": 25 << 20} for i in range(82)}},
                413,
            ),
        ]:
            answer = await self.begin(body=body)
            self.assertEqual(answer.status, status, answer.body)
        self.assertEqual((await self.begin(body={"manifest": {}})).result["buckets"], [])


class VersionTests(SessionTestCase):
    """
    Sites of versions.
    """

    async def test_rules_without_effect_are_said(self) -> None:
        """
        The answer to the upload names file, line and reason of each rule that is ignored.
        """
        token = await self.whole({INDEX: b"x"})
        config = {"_redirects": "/a /b\n/c\n", "_headers": "/x\n  no colon\n"}
        answer = await self.deploy({"jwt": token, "config": config})
        said = answer.document["messages"]
        self.assertEqual(len(said), 3, said)
        self.assertIn("_redirects, line 2 has no effect: Expected exactly 2 or 3", said[0])
        self.assertIn("_headers, line 2", said[1])

    async def test_wrong_settings_are_refused_by_name(self) -> None:
        """
        Each setting of the site that cannot be used is named in the error.
        """
        token = await self.whole({INDEX: b"x"})
        for config, named in [
            ({"html_handling": "no-such"}, "config.html_handling"),
            ({"not_found_handling": 404}, "config.not_found_handling"),
            ({"base_path": "https://x"}, "config.base_path"),
            ({"base_path": "/a%2f"}, "config.base_path"),
            ({"run_worker_first": "yes"}, "config.run_worker_first"),
            ({"run_worker_first": ["!/a"]}, "config.run_worker_first"),
            ({"run_worker_first": True}, "run_worker_first needs a 'main_module'"),
            ({"_headers": {}}, "config._headers"),
            ({"experimental": 1}, "config.experimental"),
            ([], "'config'"),
        ]:
            answer = await self.deploy({"jwt": token, "config": config})
            self.assertEqual(answer.status, 400, config)
            self.assertIn(named, answer.error[2])
        self.assertEqual((await self.deploy({"jwt": 1})).status, 400)
        self.assertEqual((await self.deploy({"other": 1})).status, 400)

    async def test_a_binding_needs_assets_and_code(self) -> None:
        """
        An assets binding without assets, and any binding without code, is refused by its name.
        """
        binding = [{"name": "FILES", "type": "assets"}]
        without = await self.deploy(None, main="export default {}", bindings=binding)
        self.assertIn("'FILES' needs 'assets'", without.error[2])
        token = await self.whole({INDEX: b"x"})
        codeless = await self.deploy({"jwt": token}, bindings=binding)
        self.assertIn("'FILES' needs a 'main_module'", codeless.error[2])
        both = await self.deploy({"jwt": token}, main="export default {}", bindings=binding)
        self.assertEqual(both.status, 200, both.body)

    async def test_assets_can_be_kept(self) -> None:
        """
        `keep_assets` takes over the newest version's files, and its settings unless new ones come.
        """
        token = await self.whole({INDEX: b"x"})
        await self.deploy({"jwt": token, "config": {"not_found_handling": "404-page"}})
        main = "export default {}"
        await self.deploy(None, main=main, keep_assets=True)
        await self.deploy({"config": {"html_handling": "none"}}, main=main, keep_assets=True)
        await self.deploy(None, main=main)
        sites = [
            None if version.assets is None else json.loads(await self.bundles.get(version.assets))
            for version in await self.catalog.versions(ALICE, "site", 10)
        ]
        newest, changed, kept, first = sites
        self.assertIsNone(newest)
        assert changed is not None and kept is not None and first is not None
        self.assertEqual(kept, first)
        self.assertEqual(changed["files"], first["files"])
        self.assertEqual(
            (changed["html_handling"], changed["not_found_handling"]), ("none", "none")
        )
        nothing = await self.deploy({"config": {}}, main=main, keep_assets=True)
        self.assertIn("metadata.assets needs 'jwt'", nothing.error[2])

    async def test_modules_need_a_main_one(self) -> None:
        """
        A form without `main_module` and without assets, or with modules, is refused.
        """
        self.assertEqual((await self.deploy(None)).status, 400)
        token = await self.whole({INDEX: b"x"})
        metadata = json.dumps({"assets": {"jwt": token}}).encode()
        content_type, body = multipart(
            ("metadata", None, metadata),
            ("index.js", "application/javascript+module", b"export default {}"),
        )
        answer = await self.ask(
            "PUT", f"/accounts/{ALICE}/workers/scripts/site", body=body,
            headers={"content-type": content_type},
        )  # fmt: skip
        self.assertIn("names no 'main_module'", answer.error[2])


class QuotaTests(SessionTestCase):
    """
    Accounts with little room.
    """

    quota = AssetQuota(files=2)

    async def test_a_session_that_would_not_fit_is_not_begun(self) -> None:
        """
        It is refused before any file is sent; what fits is deployed, and again without changes.
        """
        files = {INDEX: b"one", "/a.css": b"a"}
        refused = await self.begin({**files, "/b.css": b"b"})
        self.assertEqual(refused.error[:2], (413, 10302))
        self.assertIn("3 files; 2 are allowed (ACCOUNT_SITE_FILES)", refused.error[2])
        for _ in range(2):
            self.assertEqual((await self.deploy({"jwt": await self.whole(files)})).status, 200)
        refused = await self.begin({INDEX: b"two"})
        self.assertEqual(refused.error[:2], (413, 10302))
        stranger = await self.begin(files, name="other", account=BOB, bearer="bob")
        self.assertEqual(stranger.status, 201)
