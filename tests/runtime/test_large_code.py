"""Uploads as large as they may be: checked, and loaded where others run."""

import os

from tests.runtime.support import ACCOUNT, RealCase, code, module
from tests.runtime.test_check_real import CheckCase
from workerd_faas.domain.model import Code, ModuleKind
from workerd_faas.domain.routing import Route

MOST = (64 << 20) - (64 << 10)
"""workerd's bound is for what we add, too."""
MAIN = "export default { fetch() { return new Response(String(it.%s)) } }"


def part(name: str, content: bytes, kind: ModuleKind, property_: str = "length") -> Code:
    """
    An upload of the most bytes there may be, of which one module has nearly all.
    """
    main = f'import it from "./{name}"; ' + MAIN % property_
    return code(module("index.js", main), module(name, content[: MOST - len(main)], kind))


def text(pattern: str = "abcdefgh") -> bytes:
    """
    The most bytes that there may be.
    """
    return pattern.encode() * (MOST // len(pattern.encode()))


class LargeUploadTests(CheckCase):
    """
    The check of them.
    """

    timeout = 240

    async def test_the_most_is_accepted(self) -> None:
        """
        Nearly 64 MiB of data, of text in and beyond ASCII and of JavaScript are accepted.
        """
        cells = await self.cells()
        comment = code("export default { fetch() {} }; /*" + "x" * (MOST - 40) + "*/")
        uploads = {
            "data": part("it.bin", os.urandom(MOST), ModuleKind.DATA, "byteLength"),
            "text": part("it.txt", text(), ModuleKind.TEXT),
            "wide": part("it.txt", text("ä€"), ModuleKind.TEXT),
            "javascript": comment,
        }
        for name, upload in uploads.items():
            report = await cells.check("fn", upload, "a" * 32)
            self.assertEqual(report.handlers, ("fetch",), name)

    async def test_what_fits_into_no_cell_is_refused(self) -> None:
        """
        Code that has the size, and takes more memory than a function cell has when it starts, is
        refused with that reason.
        """
        cells = await self.cells(load=5)
        numbers = "1.5," * (MOST // 4 - 100)
        message = await self.refusal(cells, code(f"const it = [{numbers}];" + MAIN % "length"))
        self.assertIn("memory limit", message)


class LargeVersionTests(RealCase):
    """
    Running them.
    """

    timeout = 240

    async def test_each_has_a_process_of_its_own(self) -> None:
        """
        Versions with nearly 64 MiB of code run beside a process that is full of small ones and goes
        on, each in a process of its own, in which it is loaded with the memory that cells have.
        """
        fleet = await self.fleet()
        fleet.large = {"big"}
        upstream = await self.ready(fleet)
        for n in range(fleet.options.loaded_versions):
            self.loader.versions[f"v{n}"] = code("export default { fetch: () => new Response() }")
            self.assertEqual((await self.client.get(upstream, f"v{n}")).status, 200)
        self.loader.versions |= {
            "text": part("it.txt", text(), ModuleKind.TEXT),
            "data": part("it.bin", os.urandom(MOST), ModuleKind.DATA, "byteLength"),
        }
        for version in ("text", "data"):
            own = await self.ready(fleet, Route(ACCOUNT, "big", version))
            self.assertEqual((await self.client.get(own, version)).status, 200)
        self.assertEqual((await self.client.get(upstream, "v0")).status, 200)
        self.assertEqual(fleet.status().crashed, 0)
        self.assertEqual([cell.function for cell in fleet.status().cells], [None, "big", "big"])

    async def test_code_makes_room_for_code(self) -> None:
        """
        A process runs 12 versions of 12 MiB after one another, which it could not have loaded at
        the same time.
        """
        fleet = await self.fleet()
        upstream = await self.ready(fleet)
        for n in range(12):
            version = f"v{n}"
            upload = part("it.bin", os.urandom(12 << 20), ModuleKind.DATA, "byteLength")
            self.loader.versions = {version: upload}
            self.assertEqual((await self.client.get(upstream, version)).text, str(12 << 20))
        self.assertEqual(fleet.status().crashed, 0)
