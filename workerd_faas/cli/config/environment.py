"""
Environments as Wrangler has them: `env.<name>` overrides the top level, keys of the one sort are
inherited, those of the other must be repeated, and the function is called `<name>-<env>`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from workerd_faas.cli.config.files import ConfigFile
from workerd_faas.cli.config.keys import (
    ASKING_FOR_NOTHING,
    INHERITED,
    LOCAL,
    NOT_INHERITED,
    REFUSED,
    TOP_LEVEL_ONLY,
    WITHOUT_EFFECT,
)
from workerd_faas.cli.failure import project_failure


@attrs.frozen(kw_only=True)
class Selected:
    """
    The values that hold in one environment.

    Attributes:
        own: Keys that the environment sets itself.
        warnings: What every command should tell.
        problems: What is wrong.
        remarks: What a deploy should tell: keys that make no difference, and such.
    """

    environment: str | None
    values: Mapping[str, Any]
    own: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

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
    environments = top.get("env")
    if environments is not None and not isinstance(environments, dict):
        raise project_failure(f"{config.label}: env should be an object.")
    environments = environments or {}
    if not name or config.redirected:
        # A generated configuration is for one environment already.
        return Selected(
            environment=None,
            values=top,
            problems=_refused(top, ""),
            remarks=tuple(_remarks(top, "")),
        )
    raw = environments.get(name)
    if raw is None:
        if environments:
            known = ", ".join(sorted(environments))
            raise project_failure(
                f"{config.label} has no environment {name!r}; it has: {known}.",
            )
        values = {**top, "name": _suffixed(top.get("name"), name)}
        called = f": the function {values['name']!r}" if values["name"] else ""
        return Selected(
            environment=name,
            values=values,
            warnings=(
                f"there is no environment {name!r} here; the top level is taken for it, and it "
                f"makes another function of it{called}. If that is a typing mistake, correct --env",
            ),
            problems=_refused(top, ""),
            remarks=tuple(_remarks(top, "")),
        )
    if not isinstance(raw, dict):
        raise project_failure(f"{config.label}: env.{name} should be an object.")
    values = {key: top[key] for key in TOP_LEVEL_ONLY if key in top}
    values |= {key: top[key] for key in INHERITED if top.get(key) is not None}
    values["name"] = _suffixed(top.get("name"), name)
    own = {
        key: value
        for key, value in raw.items()
        if value is not None and key in INHERITED | NOT_INHERITED
    }
    prefix = f"env.{name}."
    return Selected(
        environment=name,
        values=values | own,
        own=frozenset(own),
        problems=(*_refused(top, ""), *_refused(raw, prefix)),
        remarks=(
            *_remarks(top, "", overridden=raw),
            *_remarks(raw, prefix),
            *_not_inherited(top, raw, name),
        ),
    )


def _suffixed(name: Any, environment: str) -> Any:
    return f"{name}-{environment}" if isinstance(name, str) and name else name


def _refused(raw: Mapping[str, Any], prefix: str) -> tuple[str, ...]:
    return tuple(f"{prefix}{key} {what}" for key, what in REFUSED.items() if raw.get(key))


def _remarks(
    raw: Mapping[str, Any], prefix: str, overridden: Mapping[str, Any] | None = None
) -> Iterator[str]:
    for key, value in raw.items():
        if (overridden or {}).get(key) is not None or value is None or value in ([], {}):
            continue
        if key in WITHOUT_EFFECT:
            if value not in ASKING_FOR_NOTHING.get(key, ()):
                yield f"{prefix}{key} makes no difference here: {WITHOUT_EFFECT[key]}"
        elif prefix and key in TOP_LEVEL_ONLY:
            yield f"{prefix}{key} counts at the top level only and is ignored"
        elif key not in INHERITED | NOT_INHERITED | TOP_LEVEL_ONLY | LOCAL | REFUSED.keys():
            yield f"{prefix}{key} is not a key of Wrangler's configuration; ignored"


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
