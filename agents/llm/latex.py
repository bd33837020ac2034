"""Give LaTeX commands their backslash back where JSON took it for an escape: `"\\frac"` is a form feed and `rac`.

Models write LaTeX into JSON without doubling the backslash. `\\b`, `\\f`, `\\n`, `\\r`, `\\t` are legal
escapes, so nothing fails: the text just holds a control character and the rest of the command's name.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

_LETTER = {"\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}
_FOUND = re.compile("([\b\f\n\r\t])([A-Za-z]+)")

# Commands of LaTeX, amsmath, amssymb, mathtools, xcolor, graphicx and siunitx, by their first letter.
# After a line break or a tab these are words or names of their own, so that what stands around them decides.
_WORDS = re.compile(
    "[euiort]|an|ag|ew|he|in|op|um|less|mid|exists|parallel|sim|ormal|race|ype|itle|oday|hanks|heorem|orm|rule"
)
_DELIMITER = re.compile(r"\\[()\[\]]|(?<!\\)\$\$?")
_MATH_BEFORE = re.compile(r"(?:[\d)\]}|=+\-*/^_<>]|(?<![A-Za-z])[A-Za-z]) ?$")
_COMMAND_BEFORE = re.compile(r"\\[A-Za-z]+ ?$")
_MATH_AFTER = re.compile(r" ?(?:[\d({\[|\\+\-^_=<>]|[A-Za-z](?![A-Za-z])|$)")
_SENTENCE_ENDS = ".:;!?,)\n\r"


class Restored(NamedTuple):
    """`text` with its commands, of which `repaired` were restored; `doubt`: a place with two readings."""

    text: str
    repaired: int
    doubt: str = ""


@cache
def _commands() -> frozenset[str]:
    """Commands of LaTeX, amsmath, amssymb, mathtools and the like that begin with b, f, n, r or t."""
    listed = files("dataenvgym.agents.llm").joinpath("latex_commands.txt").read_text(encoding="utf-8")
    return frozenset(listed.split())


def restore(text: str) -> Restored:
    """Restore the commands in a text. Real tabs and line breaks stay."""
    if not any(char in text for char in _LETTER):
        return Restored(text, 0)
    found = [one for one in _FOUND.finditer(text) if _LETTER[one[1]] + one[2] in _commands()]
    sure = [one for one in found if one[1] in "\b\f\r" or not _WORDS.fullmatch(one[2])]
    parts: list[str] = []
    at, count, doubt = 0, 0, ""
    for one in found:
        done = "".join([*parts, text[at : one.start()]])
        verdict = True if one in sure else _is_command(done, one, text[one.end() :], bool(sure))
        if verdict is None:
            doubt = doubt or text[max(0, one.start() - 20) : one.end() + 20]
        elif verdict:
            parts += [text[at : one.start()], "\\", _LETTER[one[1]]]
            at, count = one.start() + 1, count + 1
    return Restored("".join([*parts, text[at:]]), count, doubt)


def restore_all(value: Any, skip: frozenset[str] = frozenset()) -> tuple[Any, int, str]:
    """`restore` for every text in a JSON value; keys in `skip`, such as code, stay as they are."""
    if isinstance(value, str):
        return restore(value)
    if isinstance(value, list):
        done = [restore_all(one, skip) for one in value]
        return [one[0] for one in done], sum(one[1] for one in done), next((one[2] for one in done if one[2]), "")
    if isinstance(value, dict):
        pairs = {key: (inner, 0, "") if key in skip else restore_all(inner, skip) for key, inner in value.items()}
        doubts = [one[2] for one in pairs.values() if one[2]]
        count = sum(one[1] for one in pairs.values())
        return {key: one[0] for key, one in pairs.items()}, count, doubts[0] if doubts else ""
    return value, 0, ""


def _is_command(before: str, found: re.Match[str], after: str, has_others: bool) -> bool | None:
    """Whether a line break or tab before such a word is a command; None where that cannot be told."""
    if _is_in_math(before, after):
        return True
    if not before or before[-1] in _SENTENCE_ENDS:
        return False
    beside = (before.endswith(" ") or found[1] == "\t") and _MATH_BEFORE.search(before)
    if (beside or _COMMAND_BEFORE.search(before)) and _MATH_AFTER.match(after):
        return True
    return None if has_others or len(found[2]) == 1 or found[1] == "\t" else False


def _is_in_math(before: str, after: str) -> bool:
    """Whether a place stands between math delimiters."""
    opened = ""
    for mark in _DELIMITER.findall(before):
        if mark in ("\\(", "\\["):
            opened = mark
        elif mark in ("\\)", "\\]"):
            opened = ""
        else:
            opened = "" if opened == mark else mark
    return bool(opened) and (not opened.startswith("$") or opened in after)
