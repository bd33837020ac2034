"""Reading the Python that stands in a benchmark's columns, without running it."""

import ast
import re
import sys
from collections.abc import Iterator
from textwrap import dedent

from dataenvgym.envs.domains.base import Item
from dataenvgym.envs.errors import DataError

MAX_LENGTH = 100_000
"""Characters of code that are parsed: much longer code can exhaust the parser."""


def parsed(code: str, where: str) -> ast.Module:
    """The syntax tree of a benchmark's code.

    Raises:
        DataError: it is no Python, or too long or too deep to be parsed.
    """
    if len(code) > MAX_LENGTH:
        raise DataError(f"{where}: code of {len(code):,} characters. Expected at most {MAX_LENGTH:,}.")
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"{where}: not parsed as Python ({type(error).__name__}: {error}).") from error


def missing_imports(tree: ast.AST) -> list[str]:
    """The modules of the standard library that code names and does not bind, sorted."""
    names = {node.id: node.ctx for node in ast.walk(tree) if isinstance(node, ast.Name)}
    bound = {name for name, use in names.items() if isinstance(use, ast.Store)} | set(_imported(tree))
    return sorted(name for name in names if name in sys.stdlib_module_names and name not in bound)


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)


def entry_point(item: Item) -> str:
    """What the tests of an item call: its `entry`, or that of its starter code; "" for a program on stdin."""
    entry = item.extra.get("entry")
    if isinstance(entry, str):
        return entry
    starter = dedent(str(item.extra.get("starter") or ""))
    if solution := re.search(r"^class Solution\b.*", starter, re.MULTILINE | re.DOTALL):
        methods = re.findall(r"^[ \t]+def +([a-zA-Z]\w*)", solution[0], re.MULTILINE)
        return f"Solution.{methods[0]}" if methods else ""
    functions = re.findall(r"^def +(\w+)", starter, re.MULTILINE)
    named = [name for name in functions if re.search(rf"\b{name}\b", item.question)]
    return next(reversed(named or functions), "")


def first_lines(starter: str) -> list[str]:
    """Starter code without what stands at its end for the body that is to be written."""
    lines = starter.rstrip().split("\n")
    while lines and (
        not lines[-1].strip() or lines[-1].strip() in ("pass", "...") or lines[-1].lstrip()[0] == "#"
    ):
        lines.pop()
    return lines


def starter_fault(starter: str) -> str:
    """What is wrong with code that should end with the first line of a function: a predicate, or ""."""
    code = dedent("\n".join(first_lines(starter)))
    try:
        parsed(f"{code} pass", "starter")
    except DataError:
        pass
    else:
        return ""
    try:
        last = parsed(code, "starter").body[-1]
    except (DataError, IndexError):
        return "is no Python up to a function's first line"
    while isinstance(last, ast.ClassDef | ast.FunctionDef) and last.body:
        last = last.body[-1]
    if isinstance(last, ast.Pass) or (isinstance(last, ast.Expr) and isinstance(last.value, ast.Constant)):
        return "goes beyond the function's first line"
    return ""
