"""
Environments as Wrangler has them: `env.<name>` overrides the top level, keys of the one sort are
inherited, those of the other must be repeated, and the function is called `<name>-<env>`.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from workerd_faas.cli.config.files import ConfigFile
from workerd_faas.cli.config.keys import (
    DEFAULTS_NOT_WORTH_A_WARNING,
    INHERITED,
    NOT_INHERITED,
    SILENT,
    TOP_LEVEL_ONLY,
    UNSUPPORTED,
)
from workerd_faas.cli.failure import project_failure


@attrs.frozen(kw_only=True)
class Selected:
    """
    The values that hold in one environment.

    Attributes:
        own: Keys that the environment sets itself.
    """

    environment: str | None
    values: Mapping[str, Any]
    own: frozenset[str]
    warnings: tuple[str, ...]

    def path_of(self, key: str) -> str:
        """
        A key as it stands in the file.
        """
        first = key.partition(".")[0].partition("[")[0]
        if self.environment is not None and first in self.own:
            return f"env.{self.environment}.{key}"
        return key


def select_environment(config: ConfigFile, name: str | None) -> Selected:
    """
    Merge the environment `name` (none: the top level alone) of a configuration.

    Raises:
        Failure: there are environments, but none of that name.
    """
    top = config.content
    warnings = list(_unsupported(top, ""))
    environments = top.get("env")
    if environments is not None and not isinstance(environments, dict):
        raise project_failure(f"{config.label}: env should be an object.")
    if not name or config.redirected:
        # A generated configuration is for one environment already.
        return Selected(environment=None, values=top, own=frozenset(), warnings=tuple(warnings))
    environments = environments or {}
    raw = environments.get(name)
    if raw is None:
        if environments:
            known = ", ".join(sorted(environments))
            raise project_failure(
                f"{config.label} has no environment {name!r}; it has: {known}.",
            )
        warnings.append(f"there is no env.{name}; the top level is used for it")
        values = {**top, "name": _suffixed(top.get("name"), name)}
        return Selected(environment=name, values=values, own=frozenset(), warnings=tuple(warnings))
    if not isinstance(raw, dict):
        raise project_failure(f"{config.label}: env.{name} should be an object.")
    warnings.extend(_unsupported(raw, f"env.{name}."))
    warnings.extend(_not_inherited(top, raw, name))
    values = {key: top[key] for key in TOP_LEVEL_ONLY if key in top}
    values |= {key: top[key] for key in INHERITED if top.get(key) is not None}
    values["name"] = _suffixed(top.get("name"), name)
    own = {
        key: value
        for key, value in raw.items()
        if value is not None and key in INHERITED | NOT_INHERITED
    }
    return Selected(
        environment=name,
        values=values | own,
        own=frozenset(own),
        warnings=tuple(warnings),
    )


def _suffixed(name: Any, environment: str) -> Any:
    return f"{name}-{environment}" if isinstance(name, str) and name else name


def _unsupported(raw: Mapping[str, Any], prefix: str) -> list[str]:
    warnings = []
    for key, value in raw.items():
        known = INHERITED | NOT_INHERITED | SILENT | (frozenset() if prefix else TOP_LEVEL_ONLY)
        if key in known or value is None or value == DEFAULTS_NOT_WORTH_A_WARNING.get(key, ...):
            continue
        if key in UNSUPPORTED:
            warnings.append(f"{prefix}{key} is not supported: {UNSUPPORTED[key]}")
        elif key in TOP_LEVEL_ONLY:
            warnings.append(f"{prefix}{key} counts at the top level only and is ignored")
        else:
            warnings.append(f"{prefix}{key} is not a key of Wrangler's configuration; ignored")
    return warnings


def _not_inherited(top: Mapping[str, Any], raw: Mapping[str, Any], name: str) -> list[str]:
    warnings = []
    for key in sorted(NOT_INHERITED):
        above, own = top.get(key), raw.get(key)
        if above is None:
            continue
        if own is None:
            warnings.append(
                f"{key} is set at the top level but not in env.{name}, which does not inherit it"
            )
        elif key in ("vars", "define") and isinstance(above, dict) and isinstance(own, dict):
            missing = [each for each in above if each not in own]
            if missing:
                warnings.append(
                    f"env.{name}.{key} lacks {', '.join(missing)}, which the top level has; "
                    f"{key} is not inherited"
                )
    return warnings
