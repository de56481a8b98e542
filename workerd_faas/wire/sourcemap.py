"""Source maps (ECMA-426): reading positions in a bundle back to the user's files. Pure."""

import bisect
import contextlib
import json
import re
import urllib.parse
from array import array
from collections.abc import Mapping
from typing import Final

import attrs

_DIGITS: Final = {
    character: value
    for value, character in enumerate(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    )
}


class MalformedMap(ValueError):
    """
    Text that is no source map.
    """


def decode_vlq(text: str) -> list[int]:
    """
    The numbers of one segment: base 64 digits of five bits each, the lowest first, the sixth bit
    says that more follow; the lowest bit of a number is its sign.

    Raises:
        MalformedMap: not base 64, or cut short.
    """
    numbers, value, shift = [], 0, 0
    for character in text:
        digit = _DIGITS.get(character)
        if digit is None or shift > 60:
            raise MalformedMap(f"{character!r} in a mapping")
        value |= (digit & 31) << shift
        if digit & 32:
            shift += 5
            continue
        numbers.append(-(value >> 1) if value & 1 else value >> 1)
        value = shift = 0
    if shift:
        raise MalformedMap("a mapping is cut short")
    return numbers


@attrs.frozen
class Position:
    """
    A place in a source; line and column count from 1.
    """

    source: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}"


@attrs.frozen
class _Mappings:
    """
    Where each segment of a bundle begins and where it comes from; without an origin, its source is
    -1. All count from 0. Arrays, since a bundle may have a million segments.
    """

    first_of_line: "array[int]" = attrs.Factory(lambda: array("i"))
    columns: "array[int]" = attrs.Factory(lambda: array("i"))
    sources: "array[int]" = attrs.Factory(lambda: array("i"))
    original_lines: "array[int]" = attrs.Factory(lambda: array("i"))
    original_columns: "array[int]" = attrs.Factory(lambda: array("i"))


@attrs.frozen
class SourceMap:
    """
    For each line of the bundle: columns where segments begin, and where these come from.
    """

    sources: tuple[str, ...]
    _mappings: _Mappings = attrs.field(repr=False)

    @classmethod
    def parse(cls, content: bytes, *, max_mappings: int | None = None) -> "SourceMap":
        """
        Read a source map.

        Args:
            max_mappings: How many characters of mappings to decode at most.

        Raises:
            MalformedMap: it is none, or has more mappings.
        """
        try:
            document = json.loads(content)
            sources = tuple(str(source) for source in document["sources"])
            mappings = document["mappings"]
            if max_mappings is not None and len(mappings) > max_mappings:
                raise MalformedMap(f"more than {max_mappings} characters of mappings")
            return cls(sources, _decode(mappings, len(sources)))
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
        ) as error:
            raise MalformedMap(str(error)) from None

    @property
    def size(self) -> int:
        """
        About how many bytes it takes.
        """
        return 16 * len(self._mappings.columns) + 4 * len(self._mappings.first_of_line)

    def original(self, line: int, column: int) -> Position | None:
        """
        Where something in the bundle comes from; line and column count from 1.
        """
        found = self._mappings
        if not 1 <= line < len(found.first_of_line):
            return None
        first, end = found.first_of_line[line - 1], found.first_of_line[line]
        index = bisect.bisect_right(found.columns, column - 1, first, end) - 1
        if index < first or found.sources[index] < 0:
            return None
        return Position(
            self.sources[found.sources[index]],
            found.original_lines[index] + 1,
            found.original_columns[index] + 1,
        )


def _decode(mappings: str, sources: int) -> _Mappings:
    source = original_line = original_column = 0
    found = _Mappings()
    for line in mappings.split(";"):
        found.first_of_line.append(len(found.columns))
        column = 0
        for segment in filter(None, line.split(",")):
            numbers = decode_vlq(segment)
            if len(numbers) not in (1, 4, 5):
                raise MalformedMap(f"a mapping of {len(numbers)} numbers")
            column += numbers[0]
            from_source = -1
            if len(numbers) > 1:
                source += numbers[1]
                original_line += numbers[2]
                original_column += numbers[3]
                if not 0 <= source < sources:
                    raise MalformedMap("a mapping to a source that is not there")
                from_source = source
            found.columns.append(column)
            found.sources.append(from_source)
            found.original_lines.append(original_line)
            found.original_columns.append(original_column)
    found.first_of_line.append(len(found.columns))
    return found


_BUNDLE_URL: Final = "file:///bundle/"
_PLACE: Final = re.compile(r"(?:[a-z]+://)?/?((?:\./)?[^\s():]+):(\d{1,9}):(\d{1,9})")


def map_positions(text: str, maps: Mapping[str, bytes]) -> str:
    """
    A message with the positions in bundled modules replaced by those in the user's files.

    Args:
        maps: Source maps by the name of their module.
    """
    return replace_positions(text, parse_maps(maps))


def parse_maps(
    maps: Mapping[str, bytes], *, max_mappings: int | None = None
) -> Mapping[str, SourceMap]:
    """
    Those that are source maps; see `SourceMap.parse`.
    """
    parsed = {}
    for name, content in maps.items():
        with contextlib.suppress(MalformedMap):
            parsed[name] = SourceMap.parse(content, max_mappings=max_mappings)
    return parsed


def replace_positions(text: str, maps: Mapping[str, SourceMap]) -> str:
    """
    As `map_positions`, with maps that have been read.
    """

    def replace(match: re.Match[str]) -> str:
        found = _map_of(match[1], maps)
        position = found.original(int(match[2]), int(match[3])) if found is not None else None
        return str(position) if position is not None else match[0]

    return _PLACE.sub(replace, text).replace(_BUNDLE_URL, "")


def _map_of(name: str, maps: Mapping[str, SourceMap]) -> SourceMap | None:
    """
    The map of a module by any of the names that workerd has for it: its own, or (from a certain
    compatibility date on) the path of a URL, `file:///bundle/<name>`.
    """
    path = urllib.parse.unquote(name.removeprefix("bundle/"))
    names = (name, name.removeprefix("./"), path, f"./{path}")
    return next((maps[each] for each in names if each in maps), None)
