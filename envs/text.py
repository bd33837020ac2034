"""Texts: what must not stand in those of data files and models' replies, and words for our own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_BREAK = re.compile(r"[\x0b\x0c\x1c-\x1f\x85]")
"""Controls that separate words, lines or pages; to drop them would make one word of two."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a JSON value, in order; keys are none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts_in(inner)


def counted(number: int, word: str) -> str:
    """A number with its noun: `1 row`, `2 rows`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def storable(text: str) -> str:
    """The text with U+FFFD for lone surrogates, which no file can hold."""
    return _SURROGATE.sub("�", text)


def clean(text: str) -> str:
    """The text without what `faults` names: escape sequences, controls and overrides go, surrogates become U+FFFD.

    Tabs and line breaks stay; other controls that separate words or lines, as U+0085 does, become line breaks.
    """
    text = _BREAK.sub("\n", _BIDI.sub("", storable(text)))
    while text != (text := _CONTROL.sub("", _ANSI.sub("", text))):
        pass
    return text


def faults(text: str) -> list[str]:
    """What must not stand in a text, an entry a kind: it breaks terminals or files, or shows what is not there."""
    found = [f"control character U+{ord(char):04X}" for char in sorted(set(_CONTROL.findall(text)))]
    if _SURROGATE.search(text):
        found.append("lone surrogate")
    if override := _BIDI.search(text):
        found.append(f"bidirectional override U+{ord(override[0]):04X}")
    return found
