"""Tool calls written as Python. The source is parsed and looked at, never evaluated."""

from __future__ import annotations

import ast
from textwrap import dedent
from typing import Any, NamedTuple

from dataenvgym.envs.domains.tool_use.values import NotAValueError, plain

LONGEST_SOURCE = 100_000
"""Characters of Python that are parsed: much longer code can exhaust the parser."""
_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
_WORDS = {"true": True, "false": False, "null": None, "none": None}


class PythonCall(NamedTuple):
    """A call: its name, dots included, and its arguments."""

    name: str
    arguments: dict[str, Any]
    positional: tuple[Any, ...]


def python_calls(source: str, before: int = 0) -> list[PythonCall] | None:
    """The calls that a source consists of, in the order in which they run; None where it holds anything else.

    Calls stand alone, in a list, or are assigned; they may be the body of a function without parameters, or stand
    within `print`. Imports, texts and assigned values are passed over. `before`: calls that come before these; a
    result that is used becomes the reference `$n` to the n-th of all (see `calls.read_calls`).
    """
    reader = PythonReader(before)
    return reader.calls if reader.read(source) else None


def python_literal(source: str) -> Any:
    """The list or dictionary that a source is, as JSON; None where it is anything else. Names are texts."""
    if len(source) > LONGEST_SOURCE:
        return None
    try:
        node = ast.parse(source.strip(), mode="eval").body
        if not isinstance(node, ast.List | ast.Dict | ast.Tuple):
            return None
        reader = PythonReader(0)
        value = plain(reader.value(node))
        return None if reader.calls else value
    except _UNREADABLE:
        return None


class PythonReader:
    """Collects calls and what variables hold, over several pieces of source. `before`: as for `python_calls`."""

    def __init__(self, before: int) -> None:
        self.calls: list[PythonCall] = []
        self.before = before
        self.variables: dict[str, Any] = {}

    def read(self, source: str) -> bool:
        """Add the calls of a piece of source; False, and nothing is added, where it is anything else."""
        if len(source) > LONGEST_SOURCE:
            return False
        calls, variables = list(self.calls), dict(self.variables)
        try:
            if self._body(ast.parse(dedent(source)).body):
                return True
        except _UNREADABLE:
            pass
        self.calls, self.variables = calls, variables
        return False

    def _body(self, statements: list[ast.stmt]) -> bool:
        """Read statements; False where one is none of those that calls are written with, or none is there."""
        kinds = [self._statement(one) for one in statements]
        return bool(kinds) and all(kinds) and (bool(self.calls) or _is_empty_list(statements))

    def _statement(self, node: ast.stmt) -> bool:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Pass):
            return True
        if isinstance(node, ast.FunctionDef):
            plain_one = not (node.args.args or node.args.posonlyargs or node.args.kwonlyargs)
            return plain_one and all(self._statement(one) for one in node.body)
        if isinstance(node, ast.Return):
            return node.value is None or self._expression(node.value) or True
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            self.variables[node.targets[0].id] = self.value(node.value)
            return True
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            self.variables[node.target.id] = self.value(node.value)
            return True
        return isinstance(node, ast.Expr) and self._expression(node.value)

    def _expression(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Await):
            return self._expression(node.value)
        if isinstance(node, ast.List | ast.Tuple):
            return all(isinstance(one, ast.Call) and self._expression(one) for one in node.elts)
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id == "print":
                return all(self._expression(one) for one in node.args)
            return self._call(node) is not None
        return isinstance(node, ast.Name) or (isinstance(node, ast.Constant) and isinstance(node.value, str))

    def _call(self, node: ast.Call) -> str | None:
        """Add a call after those within its arguments; the reference to it, or None where it has no name."""
        name = _dotted(node.func)
        if name is None:
            return None
        positional = tuple(plain(self.value(one)) for one in node.args)
        arguments: dict[str, Any] = {}
        for keyword in node.keywords:
            value = plain(self.value(keyword.value))
            if keyword.arg is not None:
                arguments[keyword.arg] = value
            elif isinstance(value, dict):
                arguments |= value
            else:
                raise NotAValueError("** before what is no dictionary")
        self.calls.append(PythonCall(name, arguments, positional))
        return f"${self.before + len(self.calls)}"

    def value(self, node: ast.expr) -> Any:
        """What an expression is, as JSON; its source where it is no literal and no reference."""
        if isinstance(node, ast.Constant):
            known = node.value is None or isinstance(node.value, str | bool | int | float)
            return node.value if known else "..." if node.value is ... else ast.unparse(node)
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return [self.value(one) for one in node.elts]
        if isinstance(node, ast.Dict) and all(key is not None for key in node.keys):
            return {_key(self.value(k)): self.value(v) for k, v in zip(node.keys, node.values, strict=True) if k}
        if isinstance(node, ast.Name):
            return self.variables[node.id] if node.id in self.variables else _WORDS.get(node.id, node.id)
        if isinstance(node, ast.UnaryOp):
            return self._signed(node)
        if isinstance(node, ast.JoinedStr):
            return "".join(str(self.value(part)) for part in node.values)
        if isinstance(node, ast.FormattedValue | ast.Await):
            return self.value(node.value)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self.value(node.left), self.value(node.right)
            return left + right if isinstance(left, str) and isinstance(right, str) else ast.unparse(node)
        return self._reached(node)

    def _signed(self, node: ast.UnaryOp) -> Any:
        value = self.value(node.operand)
        if isinstance(value, int | float) and not isinstance(value, bool):
            if isinstance(node.op, ast.USub):
                return -value
            if isinstance(node.op, ast.UAdd):
                return value
        return ast.unparse(node)

    def _reached(self, node: ast.expr) -> Any:
        """A call, or a field of a result."""
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
                return {one.arg: self.value(one.value) for one in node.keywords if one.arg is not None}
            return self._call(node) or ast.unparse(node)
        if isinstance(node, ast.Attribute):
            owner, name = self.value(node.value), node.attr
        elif isinstance(node, ast.Subscript):
            owner, name = self.value(node.value), self.value(node.slice)
        else:
            return ast.unparse(node)
        return f"{owner}.{name}" if isinstance(owner, str) and owner.startswith("$") else ast.unparse(node)


def _key(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _dotted(node: ast.expr) -> str | None:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def _is_empty_list(statements: list[ast.stmt]) -> bool:
    only = statements[0] if len(statements) == 1 else None
    return isinstance(only, ast.Expr) and isinstance(only.value, ast.List) and not only.value.elts
