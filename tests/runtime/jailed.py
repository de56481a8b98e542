"""Python in the jail in the place of workerd, trying what it may not."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from workerd_faas.runtime import jail
from workerd_faas.runtime.process import READABLE

_TRY = """
import errno, json, os, socket, sys
def outcome(what):
    try:
        what()
        return "ok"
    except OSError as error:
        return errno.errorcode[error.errno]
def write(path):
    with open(path, "w"): pass
secret = sys.argv[1]
print(json.dumps({
    "own": outcome(lambda: write("mine")),
    "outside": outcome(lambda: open(secret)),
    "write outside": outcome(lambda: write(secret + ".new")),
    "connect": outcome(lambda: socket.create_connection(("127.0.0.1", 9), 1)),
    "bind": outcome(lambda: socket.socket().bind(("127.0.0.1", 0))),
}))
"""


def probe(directory: Path) -> dict[str, Any]:
    """
    What a process in the jail could do.
    """
    own = directory / "own"
    own.mkdir()
    secret = directory / "secret"
    secret.write_text("secret")
    spec = {
        "parent": os.getpid(),
        "directory": str(own),
        "data": 1 << 30,
        "files": 64,
        "oom_score_adj": 500,
        "readable": [sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve()), *READABLE],
        "connect": False,
        "landlock": True,
        "handed": [],
        "writable": [],
        "processes": 8192,
        "uid": None,
        "calls": None,
        "program": sys.executable,
        "argv": [sys.executable, "-I", "-c", _TRY, str(secret)],
        "environment": {},
    }
    done = subprocess.run(jail.command(spec), capture_output=True, check=True, timeout=20)
    seen: dict[str, Any] = json.loads(done.stdout)
    return {**seen, "landlock": jail.landlock_abi() >= 4}
