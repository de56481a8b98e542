"""`assets` of a configuration: where the files of the site are, and how they are served."""

import os.path
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from workerd_faas.cli.config.reader import Reader

_TEXTS: Final = ("html_handling", "not_found_handling", "base_path")
_KNOWN: Final = frozenset({"directory", "binding", "run_worker_first", *_TEXTS})


@attrs.frozen(kw_only=True)
class Assets:
    """
    Attributes:
        directory: Absolute.
        binding: The name in `env`, if the function shall have the site there.
        config: The rest, as the API takes it.
    """

    directory: Path
    binding: str | None = None
    config: Mapping[str, Any] = attrs.field(factory=dict)


def read_assets(reader: Reader, base: Path) -> Assets | None:
    """
    The key `assets`; mistakes are noted with the reader.
    """
    values = reader.mapping("assets")
    if not values:
        return None
    inner = reader.below("assets", values)
    for key in sorted(values.keys() - _KNOWN):
        inner.wrong(key, "is not known")
    directory = inner.text("directory")
    if not directory:
        inner.wrong("directory", "should be the directory with the site's files")
    config: dict[str, Any] = {key: text for key in _TEXTS if (text := inner.text(key)) is not None}
    first = values.get("run_worker_first")
    if isinstance(first, list):
        first = list(inner.texts("run_worker_first"))
    elif first is not None and not isinstance(first, bool):
        inner.wrong("run_worker_first", "should be true, false or a list of patterns")
    if first is not None:
        config["run_worker_first"] = first
    return Assets(
        # normpath, not resolve: links stay as the user wrote them.
        directory=Path(os.path.normpath(base / (directory or "."))),
        binding=inner.text("binding"),
        config=config,
    )
