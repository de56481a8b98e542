"""The packets that esbuild's program speaks, and finding the program."""

import io
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.cli.bundle.binary import find_esbuild
from workerd_faas.cli.bundle.nodejs import BUILTINS, NodeMode, has_navigator, node_mode
from workerd_faas.cli.bundle.resolver import Resolver
from workerd_faas.cli.bundle.service import build
from workerd_faas.cli.bundle.stdio_protocol import (
    MalformedPacket,
    Packet,
    decode_packet,
    encode_packet,
    read_frame,
)
from workerd_faas.cli.config.rules import effective_rules
from workerd_faas.cli.failure import Exit, Failure

keys = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31 - 1) | keys | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
)


@given(st.integers(0, 2**31 - 1), st.booleans(), values)
def test_packets_survive(number: int, is_request: bool, value: Any) -> None:
    """
    Reading gives back every packet that was written.
    """
    packet = Packet(number, is_request, value)
    data = encode_packet(packet)
    frame = read_frame(io.BytesIO(data))
    assert decode_packet(frame) == packet
    assert len(data) == len(frame) + 4


@given(st.binary())
def test_nonsense_is_refused(data: bytes) -> None:
    """
    Any bytes are a packet or MalformedPacket.
    """
    try:
        decode_packet(data)
    except MalformedPacket as error:
        assert str(error) is not None


def test_a_known_packet() -> None:
    """
    A packet is laid out as esbuild's own library lays it out.
    """
    packet = Packet(1, False, {"a": [None, True, -1, "é", b"x"]})
    assert encode_packet(packet) == bytes.fromhex(
        "28000000"
        "03000000"
        "06 01000000 01000000 61"
        "05 05000000 00 0101 02ffffffff 03 02000000 c3a9 04 01000000 78".replace(" ", "")
    )


def test_broken_streams_end() -> None:
    """
    A stream that ends within a packet is at its end.
    """
    with pytest.raises(EOFError):
        read_frame(io.BytesIO(b"\x05\0\0\0ab"))


def resolver(root: Path) -> Resolver:
    return Resolver(root=root, rules=effective_rules(()), mode=NodeMode.NONE, alias={})


def test_a_program_that_breaks_down(tmp_path: Path) -> None:
    """
    A program that says nonsense or dies ends the build with what it complained about.
    """
    program = tmp_path / "esbuild"
    program.write_text("#!/bin/sh\necho broken pipe dream >&2\nprintf 'x'\n")
    program.chmod(0o755)
    with pytest.raises(Failure) as caught:
        build(
            program,
            "0.28.2",
            entry=tmp_path / "i.js",
            directory=tmp_path,
            flags=[],
            plugin=resolver(tmp_path),
            environ=os.environ,
        )
    assert caught.value.exit_status is Exit.PROJECT
    assert caught.value.details == ("broken pipe dream",)


def test_wrong_options_are_reported(tmp_path: Path) -> None:
    """
    An option that esbuild does not know is an error of the build, not a breakdown.
    """
    found = find_esbuild(tmp_path, {})
    output = build(
        found.path,
        found.version,
        entry=tmp_path / "i.js",
        directory=tmp_path,
        flags=["--nonsense"],
        plugin=resolver(tmp_path),
        environ=os.environ,
    )
    assert "nonsense" in str(output.errors)


def fake_esbuild(directory: Path, version: str) -> Path:
    """
    A script that says it is esbuild of that version.
    """
    path = directory / "node_modules/esbuild/bin/esbuild"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)
    return path


def test_scripts_are_not_taken_for_programs(tmp_path: Path) -> None:
    """
    The wrapper script of an installation without its binary is passed over: it needs Node.js.
    """
    script = fake_esbuild(tmp_path, "99.0.0")
    assert find_esbuild(tmp_path, {}).path != script


@pytest.mark.parametrize(
    ("date", "flags", "mode"),
    [
        ("2024-01-01", [], NodeMode.NONE),
        ("2024-01-01", ["nodejs_als"], NodeMode.ASYNC_LOCAL_STORAGE),
        ("2024-09-22", ["nodejs_compat"], NodeMode.PREFIXED),
        ("2024-09-23", ["nodejs_compat"], NodeMode.FULL),
        ("2024-01-01", ["nodejs_compat_v2"], NodeMode.FULL),
        ("2025-01-01", ["nodejs_compat", "no_nodejs_compat_v2"], NodeMode.PREFIXED),
        ("2026-08-03", [], NodeMode.NONE),
        ("2026-08-04", [], NodeMode.FULL),
        ("2026-08-04", ["no_nodejs_compat_v2"], NodeMode.PREFIXED),
        ("2026-08-04", ["no_nodejs_compat", "no_nodejs_compat_v2"], NodeMode.NONE),
    ],
)
def test_node_modes(date: str, flags: list[str], mode: NodeMode) -> None:
    """
    Date and flags give the mode that Wrangler and workerd derive from them.
    """
    assert node_mode(date, flags) is mode


@pytest.mark.parametrize(
    ("date", "flags", "expected"),
    [
        ("2022-03-20", [], False),
        ("2022-03-21", [], True),
        ("2020-01-01", ["global_navigator"], True),
        ("2026-01-01", ["no_global_navigator"], False),
    ],
)
def test_navigator(date: str, flags: list[str], expected: bool) -> None:
    """
    `navigator` is there from its date on, or by flag.
    """
    assert has_navigator(date, flags) is expected


def test_builtins_are_those_of_wrangler() -> None:
    """
    The list of bare module names is that of the preset which Wrangler uses.
    """
    preset = Path(__file__).parents[2] / "node_modules/@cloudflare/unenv-preset/dist/index.mjs"
    text = preset.read_text().partition("const nonPrefixedNodeModules = [")[2].partition("]")[0]
    assert {line.strip(' ",') for line in text.splitlines() if line.strip()} == BUILTINS
