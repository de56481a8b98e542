"""Typed access to the values of a configuration; what has the wrong type is noted with its key."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs


@attrs.frozen
class Reader:
    """
    Reads one object.

    Attributes:
        path_of: Names a key in messages, for example `env.staging.main`.
        problems: Where mistakes are noted.
    """

    values: Mapping[str, Any]
    path_of: Callable[[str], str]
    problems: list[str]

    def wrong(self, key: str, what: str) -> None:
        """
        Note a mistake.
        """
        self.problems.append(f"{self.path_of(key)} {what}")

    def below(self, key: str, values: Mapping[str, Any]) -> "Reader":
        """
        A reader of an object that stands under `key`.
        """
        return Reader(values, _Below(self.path_of, key), self.problems)

    def text(self, key: str) -> str | None:
        """
        A string.
        """
        value = self.values.get(key)
        if value is not None and not isinstance(value, str):
            self.wrong(key, f"should be a string, not {_type(value)}")
            return None
        return value

    def flag(self, key: str) -> bool | None:
        """
        A boolean.
        """
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            self.wrong(key, f"should be true or false, not {_type(value)}")
            return None
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """
        A list of strings.
        """
        value = self.values.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            self.wrong(key, "should be a list of strings")
            return ()
        return tuple(value)

    def objects(self, key: str) -> list[Mapping[str, Any]]:
        """
        A list of objects.
        """
        value = self.values.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            self.wrong(key, "should be a list of objects")
            return []
        return value

    def mapping(self, key: str) -> Mapping[str, Any]:
        """
        An object.
        """
        value = self.values.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.wrong(key, f"should be an object, not {_type(value)}")
            return {}
        return value

    def text_mapping(self, key: str) -> Mapping[str, str]:
        """
        An object whose values are strings.
        """
        found = {}
        for name, value in self.mapping(key).items():
            if isinstance(value, str):
                found[name] = value
            else:
                self.wrong(f"{key}.{name}", f"should be a string, not {_type(value)}")
        return found


_NAMES: Final[tuple[tuple[type, str], ...]] = (
    (bool, "a boolean"),
    (int, "a number"),
    (float, "a number"),
    (str, "a string"),
    (list, "a list"),
    (dict, "an object"),
)


def _type(value: Any) -> str:
    return next((name for type_, name in _NAMES if isinstance(value, type_)), "a date")


@attrs.frozen
class _Below:
    """
    Names keys of an object inside another one.
    """

    path_of: Callable[[str], str]
    key: str

    def __call__(self, name: str) -> str:
        return self.path_of(f"{self.key}.{name}")
