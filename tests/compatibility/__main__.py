"""
Write docs/compatibility.md anew: run everything on both platforms, record what came of it.

    .venv/bin/python -m tests.compatibility
"""

import json
import sys
import tempfile
from pathlib import Path

from tests.compatibility.comparing import compared, record_of
from tests.compatibility.document import RECORD, TARGET, render, undeclared, unseen
from tests.compatibility.platforms import both


def main() -> int:
    """
    0, or 1 when there are differences to declare.
    """
    with (
        tempfile.TemporaryDirectory(prefix="wfaas-compatibility-") as directory,
        both(Path(directory)) as (here, there),
    ):
        found = compared(here, there)
    record = record_of(found)
    missing, gone = undeclared(record), unseen(record)
    for subject, rows in found.items():
        for row in rows:
            if f"{subject}: {row.what}" in missing:
                print(f"{subject}: {row}")
    for each in gone:
        print(f"is declared and does not show: {each}")
    if missing or gone:
        print("See tests/compatibility/differences.py. Nothing was written.")
        return 1
    RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")
    TARGET.write_text(render(record), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
