"""Whether calls are right by the rules of the Berkeley Function-Calling Leaderboard (BFCL).

Source of the rules: https://gorilla.cs.berkeley.edu/blogs/8_berkeley_function_calling_leaderboard.html ("AST
evaluation") and, where it is silent, what version 4 of the package `bfcl-eval` does (`eval_checker/ast_eval`). Its
odd rules are kept, as scores are compared with published ones; each is named where it stands.

A key says for one call which values each argument may have, `{"f": {"a": [1, 2], "b": ["x", ""]}}`; `""` among
them: the argument may be left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

from dataenvgym.envs.domains.tool_use.calls import Call

Key = Mapping[str, Mapping[str, Sequence[Any]]]

TYPES: dict[str, type] = {
    "string": str,
    "integer": int,
    "float": float,
    "number": float,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "list": list,
    "dict": dict,
    "object": dict,
    "any": str,
}
"""BFCL's names of types. As in the released checker an argument of `any` is compared as a text."""
NESTED = ("array", "tuple", "list")
LEFT_OUT = ""
_IGNORED = re.compile(r"[ ,./\-_*^]")


def fault(category: str, tools: Sequence[Mapping[str, Any]], keys: Sequence[Key], calls: Sequence[Call]) -> str:
    """Why calls are wrong, in words without the right values; "" where they are right.

    Irrelevance: right without a call. Relevance: right with any call. Parallel: as many calls as keys, in any
    order, each key taking the first call that fits it. Others: one call that fits the one key.
    """
    if "irrelevance" in category:
        return "it calls a tool where none fits" if calls else ""
    if "relevance" in category:
        return "" if calls else "it calls no tool where one fits"
    if len(calls) != len(keys):
        return f"it makes {len(calls)} calls, not {len(keys)}"
    left = list(calls)
    for number, key in enumerate(keys, 1):
        tool = _tool(tools, _name(key))
        reasons = [_call_fault(tool, key, call) for call in left]
        if "" not in reasons:
            return reasons[0] if len(keys) == 1 else f"no call is the expected call {number}: {reasons[0]}"
        del left[reasons.index("")]
    return ""


def answer_of(tools: Sequence[Mapping[str, Any]], keys: Sequence[Key]) -> list[Call]:
    """The calls of keys, each argument with its first value: left out where that is `""` and it is not required.

    A few keys have arguments that their tool has not; those are left out too, where the key allows it.
    """
    calls = []
    for key in keys:
        tool = _tool(tools, _name(key))
        schemas, required = _schemas(tool), _required(tool)
        arguments = {}
        for name, values in key[_name(key)].items():
            left_out = not values or values[0] == LEFT_OUT or name not in schemas
            if name in required or not (left_out and (not values or LEFT_OUT in values)):
                arguments[name] = _first(values, _schema(schemas, name))
        calls.append(Call(_name(key), arguments))
    return calls


def keys_of(calls: Sequence[Call]) -> list[Key]:
    """Keys that allow what calls say and nothing else, for rows, which come with calls alone."""
    return [{call.name: {name: [_allowed(value)] for name, value in call.arguments.items()}} for call in calls]


def partial_scores(
    tools: Sequence[Mapping[str, Any]], keys: Sequence[Key], calls: Sequence[Call]
) -> dict[str, float]:
    """Precision, recall and F1 of the tools called, and F1 of the arguments that have an allowed value.

    One whose denominator is zero is left out: nothing is to be recalled where no tool fits.
    """
    wanted, given = Counter(_name(key) for key in keys), Counter(call.name for call in calls)
    both = (wanted & given).total()
    right, expected = _arguments_right(tools, keys, calls)
    said = sum(len(call.arguments) for call in calls)
    found = {
        "tool_precision": (both, given.total()),
        "tool_recall": (both, wanted.total()),
        "tool_f1": (2 * both, wanted.total() + given.total()),
        "argument_f1": (2 * right, said + expected),
    }
    return {name: part / whole for name, (part, whole) in found.items() if whole}


def _arguments_right(
    tools: Sequence[Mapping[str, Any]], keys: Sequence[Key], calls: Sequence[Call]
) -> tuple[int, int]:
    """(arguments with an allowed value, arguments expected); each key is met by the call that fits it best."""
    left, right, expected = list(calls), 0, 0
    for key in keys:
        allowed, tool = key[_name(key)], _tool(tools, _name(key))
        rated = [(not _call_fault(tool, key, call), len(_right(tool, key, call)), call) for call in left]
        call = max(rated, key=lambda one: one[:2], default=(False, 0, Call("", {})))[2]
        found = _right(tool, key, call)
        right += len(found)
        expected += sum(1 for name, values in allowed.items() if name in found or LEFT_OUT not in values)
        if found:
            left.remove(call)
    return right, expected


def _right(tool: Mapping[str, Any], key: Key, call: Call) -> list[str]:
    """The arguments of a call that have a value that the key allows."""
    allowed, schemas = key[_name(key)], _schemas(tool)
    if call.name != _name(key):
        return []
    return [
        name
        for name, value in call.arguments.items()
        if name in allowed and not _value_fault(value, allowed[name], _schema(schemas, name))
    ]


def _name(key: Key) -> str:
    return next(iter(key))


def _tool(tools: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    return next((tool for tool in tools if tool.get("name") == name), {})


def _schemas(tool: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    parameters = tool.get("parameters")
    found = parameters.get("properties") if isinstance(parameters, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _required(tool: Mapping[str, Any]) -> Sequence[str]:
    parameters = tool.get("parameters")
    found = parameters.get("required") if isinstance(parameters, Mapping) else None
    return found if isinstance(found, list) else []


def _schema(schemas: Mapping[str, Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    found = schemas.get(name)
    return found if isinstance(found, Mapping) else {}


def _call_fault(tool: Mapping[str, Any], key: Key, call: Call) -> str:
    """Why a call does not fit a key; "" where it does. Positional arguments are not read, as in the release."""
    if call.name != _name(key):
        return f"it calls {call.name[:80]}"
    allowed, schemas = key[call.name], _schemas(tool)
    if missing := [name for name in _required(tool) if name not in call.arguments]:
        return f"{call.name} lacks the required argument {missing[0]!r}"
    for name, value in call.arguments.items():
        if name not in allowed or (tool and name not in schemas):
            return f"{call.name} has an argument too many, {name[:80]!r}"
        if reason := _value_fault(value, allowed[name], _schema(schemas, name)):
            return f"{call.name}, argument {name!r}: {reason}"
    for name, values in allowed.items():
        if name not in call.arguments and LEFT_OUT not in values:
            return f"{call.name} lacks the argument {name!r}"
    return ""


def _value_fault(value: Any, allowed: Sequence[Any], schema: Mapping[str, Any]) -> str:
    """Why a value is none of those allowed; "" where it is."""
    kind = _kind_of(allowed)
    # A schema without a type is taken as of the type of the first allowed value.
    expected = TYPES.get(str(schema.get("type")), kind or str)
    items = schema.get("items")
    inner = (
        TYPES.get(str(items.get("type"))) if schema.get("type") in NESTED and isinstance(items, Mapping) else None
    )
    if expected is float and type(value) is int:  # int for float is allowed, at this level only
        value = float(value)
    if not _of_type(value, allowed, expected, inner):
        return f"the type is not {schema.get('type', expected.__name__)}"
    # A key may hold the name of a variable where the schema says another type; it is compared as it is.
    variable = kind not in (None, expected) or type(value) is not expected
    if variable:
        right = _among(value, allowed)
    elif expected is dict:
        right = any(_same_object(value, one) for one in allowed if isinstance(one, Mapping))
    elif expected is list and inner is dict:
        right = any(_same_objects(value, one) for one in allowed)
    elif expected is list:
        right = _among(_plain(value), [_plain(one) for one in allowed])
    elif expected is str:
        right = plain_text(value) in [plain_text(one) for one in allowed if isinstance(one, str)]
    else:
        right = _among(value, allowed)
    return "" if right else "the value is wrong"


def _of_type(value: Any, allowed: Sequence[Any], expected: type, inner: type | None) -> bool:
    """Whether a value is of the expected type or, where a key has a variable, of the type of the key."""
    if type(value) is not expected:
        return type(value) is _kind_of(allowed)
    if inner is None:
        return True
    items = cast("list[Any]", value)
    return any(
        not isinstance(option, list) or all(_of_type(one, option, inner, None) for one in items)
        for option in allowed
    )


def _kind_of(allowed: Sequence[Any]) -> type | None:
    """The type of the first value allowed; None where only leaving it out is."""
    return next((type(one) for one in allowed if one != LEFT_OUT), None)


def _among(value: Any, allowed: Sequence[Any]) -> bool:
    return any(value == one for one in allowed)


def plain_text(text: str) -> str:
    """A text without case, spaces and the marks `,./-_*^`, and with double quotes for single ones."""
    return _IGNORED.sub("", text).lower().replace("'", '"')


def _plain(value: Any) -> Any:
    """A list with its texts plain. `""`, which allows that an argument is left out, is the empty list here."""
    if not isinstance(value, list | str):
        return value
    return [plain_text(one) if isinstance(one, str) else one for one in value]


def _same_object(value: Mapping[str, Any], key: Mapping[str, Any]) -> bool:
    """Whether an object has the keys and values that a key allows. Objects within it are compared as they are."""
    for name, one in value.items():
        if name not in key:
            return False
        options = [plain_text(option) if isinstance(option, str) else option for option in _options(key[name])]
        if not _among(plain_text(one) if isinstance(one, str) else one, options):
            return False
    return all(name in value or LEFT_OUT in _options(options) for name, options in key.items())


def _same_objects(value: Sequence[Any], key: Any) -> bool:
    """Whether a list of objects is one that a key allows, in its order."""
    if not isinstance(key, list | str) or len(value) != len(key):
        return False
    return all(
        isinstance(one, Mapping) and isinstance(other, Mapping) and _same_object(one, other)
        for one, other in zip(value, key, strict=True)
    )


def _options(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _first(values: Sequence[Any], schema: Mapping[str, Any]) -> Any:
    """The first value that is one, with the first of each allowed value within objects."""
    value = next((one for one in values if one != LEFT_OUT), LEFT_OUT)
    return _chosen(value) if isinstance(value, dict) or _objects(value, schema) else value


def _objects(value: Any, schema: Mapping[str, Any]) -> bool:
    items = schema.get("items")
    inner = TYPES.get(str(items.get("type"))) if isinstance(items, Mapping) else None
    return inner is dict and isinstance(value, list)


def _chosen(value: Any) -> Any:
    if isinstance(value, list):
        return [_chosen(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {name: next((o for o in _options(options) if o != LEFT_OUT), None) for name, options in value.items()}
    return {name: one for name, one in found.items() if one is not None or LEFT_OUT not in _options(value[name])}


def _allowed(value: Any) -> Any:
    """A value as a key has it: each value within objects in a list."""
    if isinstance(value, dict):
        return {name: [one] for name, one in value.items()}
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return [_allowed(one) for one in value]
    return value
