"""Parts of an upload as bindings: `wasm_module`, `text_blob`, `data_blob`."""

import json
from typing import Any

import pytest

from tests.e2e.daemon import Answer, Daemon, multipart

ADD = bytes.fromhex(
    "0061736d0100000001070160027f7f017f030201000707010361646400000a09010700200020016a0b"
)
CODE = """
import { env as early } from "cloudflare:workers";
const before = early.TEXT;
export default {
  async fetch(request, env) {
    const { exports } = await WebAssembly.instantiate(env.WASM);
    return Response.json({
      sum: exports.add(40, 2), text: env.TEXT, early: before, data: [...new Uint8Array(env.DATA)],
    });
  },
};
"""
BINDINGS = [
    {"name": "WASM", "type": "wasm_module", "part": "add"},
    {"name": "TEXT", "type": "text_blob", "part": "./greeting"},
    {"name": "DATA", "type": "data_blob", "part": "bytes.bin"},
]


def upload(daemon: Daemon, bindings: list[dict[str, Any]], **more: Any) -> Answer:
    """
    Upload the code with three parts, whose content types say little.
    """
    document = {
        "main_module": "index.js",
        "compatibility_date": "2026-11-01",
        "bindings": bindings,
        **more,
    }
    content_type, body = multipart(
        ("metadata", None, json.dumps(document).encode()),
        ("index.js", "application/javascript+module", CODE.encode()),
        ("add", "application/octet-stream", ADD),
        ("greeting", "text/plain", "grüß dich".encode()),
        ("bytes.bin", "text/plain", bytes(range(250, 256))),
    )
    headers = {"Content-Type": content_type}
    return daemon.api("PUT", "/workers/scripts/parts", body=body, headers=headers)


@pytest.mark.parametrize("date", ["2021-11-02", "2026-11-17"])
def test_parts_are_values_in_env(daemon: Daemon, date: str) -> None:
    """
    A WebAssembly module, a string and an ArrayBuffer, there before the user's code runs.
    """
    assert upload(daemon, BINDINGS, compatibility_date=date).status == 200
    assert daemon.function("parts").document == {
        "sum": 42,
        "text": "grüß dich",
        "early": "grüß dich",
        "data": [250, 251, 252, 253, 254, 255],
    }
    shown = daemon.api("GET", "/workers/scripts/parts/settings").result["bindings"]
    assert {"name": "WASM", "type": "wasm_module", "part": "add"} in shown


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"name": "X", "type": "text_blob", "part": "nowhere"}, "not in the upload"),
        ({"name": "X", "type": "text_blob", "part": "add"}, "something else"),
        ({"name": "X", "type": "text_blob"}, "'part'"),
        ({"name": "X", "type": "text_blob", "part": "../x"}, "module name"),
    ],
)
def test_a_wrong_part_is_refused(daemon: Daemon, wrong: dict[str, Any], what: str) -> None:
    """
    The upload says what is wrong with it.
    """
    refused = upload(daemon, [*BINDINGS, wrong])
    assert refused.status == 400
    assert what in refused.document["errors"][0]["message"]


def test_a_part_is_not_inherited(daemon: Daemon) -> None:
    """
    It is of the version that it came with, and has to be sent again.
    """
    upload(daemon, BINDINGS)
    refused = upload(daemon, [{"name": "TEXT", "type": "inherit"}])
    assert refused.status == 400
    assert "send it again" in refused.document["errors"][0]["message"]


def test_secrets_change_beside_parts(daemon: Daemon) -> None:
    """
    A version that only has another secret keeps the parts.
    """
    upload(daemon, BINDINGS)
    secret = {"name": "KEY", "type": "secret_text", "text": "x"}
    assert daemon.api("PUT", "/workers/scripts/parts/secrets", secret).status == 200
    assert daemon.function("parts").document["sum"] == 42
