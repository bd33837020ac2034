"""What is wrong with a row that a teacher wrote, told from its text alone: no tool is ever called."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from dataenvgym.envs.domains.base import LONGEST_DETAIL
from dataenvgym.envs.domains.tool_use.calls import Call, read_calls
from dataenvgym.envs.domains.tool_use.plans import REFERENCE
from dataenvgym.envs.domains.tool_use.schemas import Tool, arguments_fault, properties, tool_fault
from dataenvgym.envs.types import Row

MOST_CALLS = 20
_SCALES = (1, 60, 3600, 24, 7, 12, 100, 1000, 1_000_000, 0.01, 0.001)
"""A number is mentioned by another that it comes from: hours as minutes, per cent as a fraction."""
_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety hundred"
_OTHERS = {
    "a": 1,
    "an": 1,
    "once": 1,
    "twice": 2,
    "half": 0.5,
    "dozen": 12,
    "thousand": 1000,
    "million": 1_000_000,
}
_NUMBERS: dict[str, float] = {
    **{word: 10 * number for number, word in enumerate(_TENS.split())},
    **{word: number for number, word in enumerate(_UNITS.split())},
    **_OTHERS,
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_RELATIVE_DAY = re.compile(
    r"\b(?:today|tonight|tomorrow|yesterday|(?:mon|tues|wednes|thurs|fri|satur|sun)day|next|last|this|now|ago|in)\b"
)
_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ].*)?")
_TIME = re.compile(r"(\d{1,2}):(\d{2})(?::\d{2})?")
_WORD = re.compile(r"[^\W_]+")
_FIGURE = re.compile(r"\d+(?:[.,]\d+)*")


def row_fault(row: Row, tools: Sequence[Tool], catalogue: Mapping[str, Tool] | None = None) -> str:
    """What is wrong with a row that offers these tools, or "".

    Args:
        tools: those of the row, with the names of a catalogue's resolved.
        catalogue: the only tools that there are, where a task has a fixed set.
    """
    return (_tools_fault(tools, catalogue) or _calls_fault(row, tools))[:LONGEST_DETAIL]


def _tools_fault(tools: Sequence[Tool], catalogue: Mapping[str, Tool] | None) -> str:
    if not tools:
        return "it offers no tools"
    seen: set[str] = set()
    for tool in tools:
        if fault := tool_fault(tool):
            return fault
        name = tool["name"]
        if name in seen:
            return f"two of its tools have the name {name!r}"
        seen.add(name)
        if catalogue is None:
            continue
        if name not in catalogue:
            return f"the task has no tool {name!r}{_nearest(name, catalogue)}"
        if properties(tool) != properties(catalogue[name]):
            return f"{name!r} has other parameters than the task's tool of that name"
    return ""


def _calls_fault(row: Row, tools: Sequence[Tool]) -> str:
    calls = read_calls(row.answer)
    if calls is None:
        return "the answer is no list of calls"
    if len(calls) > MOST_CALLS:
        return f"the answer has {len(calls)} calls, more than {MOST_CALLS}"
    known = {str(tool["name"]): tool for tool in tools}
    for number, call in enumerate(calls, 1):
        fault = _call_fault(number, call, known, row.question)
        if fault:
            return f"call {number}: {fault}"
    return ""


def _call_fault(number: int, call: Call, known: Mapping[str, Tool], request: str) -> str:
    if call.name not in known:
        return f"{call.name[:40]!r} is none of the tools offered{_nearest(call.name, known)}"
    call = call.bound(list(properties(known[call.name])))
    if call.positional:
        return f"{call.name} gets arguments without a name that fit none of its parameters"
    references = [ref for text in _leaves(call.arguments) for ref in _references(text, request)]
    if ahead := [ref for ref in references if not 1 <= int(ref[1]) < number]:
        return f"{ahead[0][0]} is not the result of an earlier call"
    results = [ref[0] for ref in references]
    if fault := arguments_fault(known[call.name], call.arguments, results):
        return fault
    for name, value in call.arguments.items():
        schema = properties(known[call.name])[name]
        for leaf in _leaves(value):
            own = REFERENCE.sub("", leaf).strip(" .,;:!?") if _references(leaf, request) else leaf
            if not _mentioned(own, schema, request):
                return f"the request does not mention {_short(leaf)}, which {name!r} holds"
    return ""


def _references(value: Any, request: str) -> list[re.Match[str]]:
    """The results that a text refers to. A `$5` that the request itself has is money."""
    return [ref for ref in REFERENCE.finditer(value) if ref[0] not in request] if isinstance(value, str) else []


def _leaves(value: Any) -> Iterator[Any]:
    """The values in lists and objects; depth is bounded, since `read_calls` bounds it."""
    if isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _leaves(inner)
    else:
        yield value


def _mentioned(value: Any, schema: Mapping[str, Any], request: str) -> bool:
    """Whether a request says a value, in its words or in others that mean it.

    A value of a fixed set, a default and true or false may follow from what is said. Of a longer text half of the
    words must be there: a summary is no invention.
    """
    if value is None or isinstance(value, bool) or ("default" in schema and schema["default"] == value):
        return True
    if schema.get("enum") or (isinstance(schema.get("items"), Mapping) and schema["items"].get("enum")):
        return True
    said = request.casefold()
    if isinstance(value, int | float):
        return any(
            abs(abs(value) - number * scale) <= 1e-6 * max(1, abs(value))
            for number in _numbers(said)
            for scale in _SCALES
        )
    text = str(value).casefold().strip()
    if not text or text in said:
        return True
    if match := _DATE.fullmatch(text):
        return _says_date(int(match[2]), int(match[3]), said)
    if match := _TIME.fullmatch(text):
        return _says_time(int(match[1]), int(match[2]), said)
    words, there = _WORD.findall(text), {_stem(word) for word in _WORD.findall(said)}
    there |= {str(number) for number, month in enumerate(_MONTHS, 1) if re.search(rf"\b{month}", said)}
    return 2 * sum(_stem(word) in there for word in words) >= max(1, len(words))


def _stem(word: str) -> str:
    """The beginning of a word, so that `German` is `Germany`; a number without zeros in front or an ending."""
    if number := re.fullmatch(r"0*(\d+)(?:st|nd|rd|th)?", word):
        return number[1]
    return word[:4]


def _numbers(said: str) -> list[float]:
    figures = [
        float(text.replace(",", ""))
        for text in _FIGURE.findall(said)[:200]
        if text.count(".") <= 1 and len(text) < 40
    ]
    return [*figures, *(_NUMBERS[word] for word in _WORD.findall(said) if word in _NUMBERS)]


def _says_date(month: int, day: int, said: str) -> bool:
    if _RELATIVE_DAY.search(said):
        return True
    figures = _numbers(re.sub(r"(\d)(?:st|nd|rd|th)\b", r"\1", said.replace("-", " ").replace(".", " ")))
    named = 1 <= month <= 12 and re.search(rf"\b{_MONTHS[month - 1]}", said) is not None
    return day in figures and (named or month in figures)


def _says_time(hour: int, minute: int, said: str) -> bool:
    hours = {hour, hour % 12 or 12}
    word = {0: "midnight", 12: "noon"}.get(hour, "")
    if word and word in said:
        return True
    figures = _numbers(said)
    return any(number in figures for number in hours) or (minute != 0 and minute in figures)


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(name[:60], list(known), n=1)
    return f". Did you mean {close[0]!r}?" if close else ""


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
