"""Finding and parsing the configuration file."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from workerd_faas.cli.config.jsonc import JsoncError, parse_jsonc
from workerd_faas.cli.failure import project_failure, usage

_NAMES: Final = ("wrangler.json", "wrangler.jsonc", "wrangler.toml")
"""In Wrangler's order: the first name that is found in any directory upwards wins."""

_REDIRECT: Final = Path(".wrangler/deploy/config.json")


@attrs.frozen(kw_only=True)
class ConfigFile:
    """
    A configuration as it stands in its file.

    Attributes:
        path: The file that was read, or None when there is none.
        user_path: The file that the user wrote; a build tool may have put another in its place.
    """

    path: Path | None
    user_path: Path | None
    content: Mapping[str, Any]

    @property
    def redirected(self) -> bool:
        """
        Whether a build tool generated it.
        """
        return self.path != self.user_path

    @property
    def label(self) -> str:
        """
        What to call it in messages.
        """
        return shown(self.path) if self.path else "the configuration"


def shown(path: Path | None) -> str:
    """
    A path as people would type it here.
    """
    if path is None:
        return "?"
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def is_trusted(path: Path, start: Path) -> bool:
    """
    Whether a file that was found above `start` may say what is run: it belongs to us, to root or
    to whom `start` belongs to. In a shared directory such as /tmp anybody can leave files.
    """
    return path.stat().st_uid in (0, os.geteuid(), start.stat().st_uid)


def find_upwards(name: str | Path, start: Path) -> Path | None:
    """
    The nearest file of that name in `start` or a directory above it.

    Raises:
        Failure: it belongs to somebody else.
    """
    for directory in (start, *start.parents):
        candidate = directory / name
        if candidate.is_file():
            if not is_trusted(candidate, start):
                raise project_failure(
                    f"{shown(candidate)} was found above this directory, but it belongs to "
                    "another user.",
                    hint="if it is meant, name the configuration with --config",
                )
            return candidate
    return None


def load_config(explicit: Path | None, start: Path) -> ConfigFile:
    """
    Read the configuration that `--config` names, or the one that is found from `start` upwards,
    or the one that a build tool left in its place.

    Raises:
        Failure: it is not there or cannot be parsed.
    """
    if explicit is not None:
        path = explicit.absolute()
        if not path.is_file():
            raise usage(f"There is no configuration file {explicit}.")
        return ConfigFile(path=path, user_path=path, content=_parse(path))
    found = (find_upwards(name, start.absolute()) for name in _NAMES)
    user_path = next((path for path in found if path is not None), None)
    path_or_none = _redirected(start.absolute(), user_path) or user_path
    content = _parse(path_or_none) if path_or_none is not None else {}
    return ConfigFile(path=path_or_none, user_path=user_path, content=content)


def _redirected(start: Path, user_path: Path | None) -> Path | None:
    pointer = find_upwards(_REDIRECT, start)
    if pointer is None:
        return None
    target = _parse(pointer).get("configPath")
    if not isinstance(target, str):
        raise project_failure(f"{shown(pointer)}: the key `configPath` is missing.")
    path = (pointer.parent / target).resolve()
    if not path.is_file():
        raise project_failure(f"{shown(pointer)}: it points to {target}, which does not exist.")
    if user_path is not None and user_path.parent / _REDIRECT != pointer:
        raise project_failure(
            f"Both {shown(user_path)} and {shown(pointer)} are there, "
            "but they do not belong together.",
            hint="remove the second if it is left over from an earlier build",
        )
    return path


def _parse(path: Path) -> dict[str, Any]:
    label = shown(path)
    try:
        text = path.read_text("utf-8")
        document = tomllib.loads(text) if path.suffix == ".toml" else parse_jsonc(text)
    except OSError as error:
        raise project_failure(f"{label} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise project_failure(f"{label} is not UTF-8.") from None
    except (JsoncError, tomllib.TOMLDecodeError) as error:
        raise project_failure(f"{label}: {error}.") from None
    if not isinstance(document, dict):
        raise project_failure(f"{label}: it should be an object.")
    return document
