"""
Where values come from: options, then the environment, then the env file; the first that names a
setting decides, and an empty value there means the default.
"""

import difflib
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from workerd_faas.settings import dotenv
from workerd_faas.settings.setting import Setting
from workerd_faas.settings.table import SETTINGS, VARIABLES
from workerd_faas.settings.values import path, shown

_LARGEST_FILE: Final = 1 << 20


@attrs.define
class Findings:
    """
    Problems as (setting or file, what is wrong and what would be right), and warnings.
    """

    problems: list[tuple[str, str]] = attrs.Factory(list)
    warnings: list[str] = attrs.Factory(list)

    def problem(self, name: str, message: str) -> None:
        """
        Something that must be put right before the daemon can start.
        """
        self.problems.append((name, message))

    def warn(self, name: str, message: str) -> None:
        """
        Something that works and should be known.
        """
        self.warnings.append(f"{name}: {message}")


def gather(
    environ: Mapping[str, str],
    env_file: Path | None,
    overrides: Mapping[str, str],
    findings: Findings,
) -> dict[str, str]:
    """
    The text of every setting that has one; secrets from their files included.
    """
    from_file = _env_file(env_file, findings) if env_file is not None else {}
    chosen: dict[str, str] = {}
    for setting in SETTINGS:
        # A secret has two names: a source that gives it by one of them decides about both.
        names = {setting.name, setting.file_name} if setting.secret else {setting.name}
        for source in (overrides, environ, from_file):
            said = {name: source[name].strip() for name in names if name in source}
            names -= said.keys()
            if any(said.values()):
                chosen |= {name: value for name, value in said.items() if value}
                break
        if setting.secret:
            _secret_file(setting, chosen, findings)
    return chosen


def _env_file(file: Path, findings: Findings) -> dict[str, str]:
    label = str(file)
    try:
        content = _read(file)
    except (OSError, ValueError) as error:
        findings.problem(label, f"cannot be read: {_reason(error)}")
        return {}
    parsed = dotenv.parse(content)
    for mistake in parsed.mistakes:
        findings.problem(f"{label}, line {mistake.line}", mistake.message)
    for name in sorted(parsed.values.keys() - VARIABLES):
        meant = difflib.get_close_matches(name, VARIABLES, n=1, cutoff=0.8)
        findings.warn(
            label, f"{name} is no setting" + (f": did you mean {meant[0]}?" if meant else "")
        )
    if parsed.values.keys() & {setting.name for setting in SETTINGS if setting.secret}:
        _warn_if_public(label, file, findings)
    return parsed.values


def _secret_file(setting: Setting, chosen: dict[str, str], findings: Findings) -> None:
    named = chosen.pop(setting.file_name, None)
    if named is None:
        return
    if setting.name in chosen:
        findings.problem(
            setting.name,
            f"is given, and so is {setting.file_name}: take one of the two away",
        )
        return
    try:
        file = path(named)
        content = _read(file)
    except (OSError, ValueError) as error:
        findings.problem(setting.file_name, f"{shown(named)} cannot be read: {_reason(error)}")
        # Not missing, only unreadable: one problem is enough.
        chosen[setting.name] = ""
        return
    # Editors and `echo` end a file with a line end that is no part of the secret.
    chosen[setting.name] = content.rstrip("\r\n")
    if not chosen[setting.name]:
        findings.problem(setting.file_name, f"{shown(named)} is empty: put the secret into it")
    _warn_if_public(setting.file_name, file, findings)


def _read(file: Path) -> str:
    with file.open("rb") as stream:
        content = stream.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise ValueError("it is larger than 1 MiB")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        # The exception would quote the content.
        raise ValueError("it is not UTF-8 text") from None


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)


def _warn_if_public(label: str, file: Path, findings: Findings) -> None:
    if file.stat().st_mode & stat.S_IROTH:
        findings.warn(label, "every user of this machine can read it: chmod 600 it")
