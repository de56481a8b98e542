"""Typed access to the values of a configuration; what has the wrong type is noted with its key."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

import attrs


@attrs.frozen
class Reader:
    """
    Reads one object.

    Attributes:
        path_of: Names a key in messages, for example `env.staging.main`.
        problems: Where mistakes are noted.
        remarks: Where is noted what makes no difference.
    """

    values: Mapping[str, Any]
    path_of: Callable[[str], str]
    problems: list[str]
    remarks: list[str]

    def wrong(self, key: str, what: str) -> None:
        """
        Note a mistake.
        """
        self.problems.append(f"{self.path_of(key)} {what}")

    def without_effect(self, key: str, what_holds: str) -> None:
        """
        Note a key that makes no difference.
        """
        self.remarks.append(f"{self.path_of(key)} makes no difference: {what_holds}")

    def unexpected(self, known: Collection[str]) -> None:
        """
        Note the keys that are not known, which are typing mistakes.
        """
        for key in self.values:
            if key not in known:
                self.remarks.append(
                    f"{self.path_of(key)} is not a key of Wrangler's configuration; ignored"
                )

    def below(self, key: str, values: Mapping[str, Any]) -> "Reader":
        """
        A reader of an object that stands under `key`.
        """
        return Reader(values, _Below(self.path_of, key), self.problems, self.remarks)

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

    def entries(self, key: str) -> "Iterator[Reader]":
        """
        Readers of the objects in a list.
        """
        value = self.values.get(key)
        if value is None:
            return
        if not isinstance(value, list):
            self.wrong(key, f"should be a list, not {_type(value)}")
            return
        for index, each in enumerate(value):
            if isinstance(each, dict):
                yield self.below(f"{key}[{index}]", each)
            else:
                self.wrong(f"{key}[{index}]", f"should be an object, not {_type(each)}")

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
