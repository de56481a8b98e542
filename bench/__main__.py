"""
`python -m bench [PART…]`: measure, print, and keep the figures in `bench/results/`.

Only ratios within one run mean anything; how noisy the machine was is in each result.
"""

import argparse
import datetime
import json
import os
import platform as machine
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs

from bench import cores, deploys, growth, memory, platform, relay
from bench.processes import find_workerd
from bench.rounds import noise

Part = tuple[Callable[[argparse.Namespace], dict[str, Any]], Callable[[dict[str, Any]], str]]

PARTS: Final[dict[str, Part]] = {
    "relay": (lambda a: relay.run(a.seconds, a.rounds), relay.show),
    "platform": (lambda a: platform.run(a.seconds, a.rounds), platform.show),
    "cores": (lambda a: cores.run(a.seconds, a.rounds), cores.show),
    "deploys": (lambda a: deploys.run(a.times), deploys.show),
    "growth": (lambda a: growth.run(a.seconds, a.rounds), growth.show),
    "memory": (lambda a: memory.run(a.deploys, a.functions), memory.show),
}
_LONG: Final = {"memory"}


def main() -> None:
    """
    Measure, print, keep.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--seconds", type=float, default=1, help="of each round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--times", type=int, default=40, help="deploys")
    parser.add_argument("--deploys", type=int, default=memory.DEPLOYS, help="for memory")
    parser.add_argument("--functions", type=int, default=memory.FUNCTIONS, help="for memory")
    parser.add_argument("--results", type=Path, default=Path("bench/results"))
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if find_workerd() is None:
        raise SystemExit("workerd is missing: run `make setup`")
    missing = [name for name in ("nginx",) if shutil.which(name) is None]
    if missing:
        print(f"not installed: {', '.join(missing)}; measuring without")
    for name in arguments.parts or [name for name in PARTS if name not in _LONG]:
        run, show = PARTS[name]
        before = noise()
        figures = run(arguments)
        document = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "python": machine.python_version(),
            "processors": os.cpu_count(),
            "missing": missing,
            "noise": {"before": attrs.asdict(before), "after": attrs.asdict(noise())},
            **figures,
        }
        arguments.results.mkdir(parents=True, exist_ok=True)
        path = arguments.results / f"{document['date']}-{name}.json"
        path.write_text(json.dumps(document, indent=2) + "\n")
        print(f"\n{name} (kept in {path})\n\n{show(document)}", flush=True)


if __name__ == "__main__":
    main()
