"""Reading JSON that may hold anything: each value is checked where it is read.

A parser takes a value and where it stands (``shards[3].bytes``), and returns what it means or
raises `ParseError`.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_Text = TypeVar("_Text", bound=str)
Parser = Callable[[Any, str], T]

_MAX_COUNT = 2**63 - 1


class ParseError(ValueError):
    """A value that is missing or not what it must be; the message says where and why."""


def parse_json(data: bytes) -> Any:
    """The value that `data` is the JSON of. Raises ParseError, for NaN and infinity too."""
    try:
        return json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ParseError(f"it is not JSON: {error}") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def wrong(value: Any, at: str, wanted: str) -> ParseError:
    """The error for a `value` that is not what is `wanted`."""
    return ParseError(f"{at} is {reprlib.repr(value)}, not {wanted}")


class JsonObject:
    """The fields of a JSON object. Unknown ones are ignored."""

    def __init__(self, data: Any, at: str) -> None:
        if not isinstance(data, dict):
            raise wrong(data, at or "it", "an object")
        self._data, self._at = data, at

    def get(self, key: str, parse: Parser[T]) -> T:
        """A field's value. Raises ParseError where there is no such field."""
        at = f"{self._at}.{key}" if self._at else key
        if key not in self._data:
            raise ParseError(f"{at} is missing")
        return parse(self._data[key], at)


def anything(data: Any, at: str) -> Any:
    """The value as it is."""
    return data


def between(least: int, most: int) -> Parser[int]:
    """A whole number from `least` to `most`."""

    def parse(data: Any, at: str) -> int:
        if type(data) is not int or not least <= data <= most:
            raise wrong(data, at, f"a whole number from {least} to {most}")
        return data

    return parse


count = between(0, _MAX_COUNT)
positive_count = between(1, _MAX_COUNT)


def positive_number(data: Any, at: str) -> float:
    """A number above 0."""
    if type(data) not in (int, float) or not 0 < data <= 1e9:
        raise wrong(data, at, "a number above 0 and up to 1e9")
    return float(data)


def text(data: Any, at: str) -> str:
    """Text that can be written as UTF-8."""
    try:
        if isinstance(data, str):
            data.encode()
            return data
    except UnicodeEncodeError:
        pass
    raise wrong(data, at, "text")


def one_of(*choices: _Text) -> Parser[_Text]:
    """One of some texts."""

    def parse(data: Any, at: str) -> _Text:
        for choice in choices:
            if choice == text(data, at):
                return choice
        raise wrong(data, at, f"one of {', '.join(choices)}")

    return parse


def optional(parse: Parser[T]) -> Parser[T | None]:
    """What `parse` returns, or None for null."""
    return lambda data, at: None if data is None else parse(data, at)


def tuple_of(parse: Parser[T]) -> Parser[tuple[T, ...]]:
    """A list of what `parse` takes."""

    def parse_all(data: Any, at: str) -> tuple[T, ...]:
        if not isinstance(data, list):
            raise wrong(data, at, "a list")
        return tuple(parse(value, f"{at}[{number}]") for number, value in enumerate(data))

    return parse_all


def dict_of(parse: Parser[T], parse_key: Parser[str] = text) -> Parser[dict[str, T]]:
    """An object whose values are all what `parse` takes."""

    def parse_all(data: Any, at: str) -> dict[str, T]:
        if not isinstance(data, dict):
            raise wrong(data, at, "an object")
        return {
            parse_key(key, f"a key of {at}"): parse(value, f"{at}.{key}")
            for key, value in data.items()
        }

    return parse_all
