"""Reading the Python that stands in a benchmark's columns, without running it."""

import ast
import re
import sys
from collections.abc import Iterator

from dataenvgym.envs.domain import Item
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
    starter = str(item.extra.get("starter") or "")
    if method := re.search(r"^class Solution\b.*?^[ \t]+def +(\w+)", starter, re.MULTILINE | re.DOTALL):
        return f"Solution.{method[1]}"
    functions = re.findall(r"^def +(\w+)", starter, re.MULTILINE)
    return functions[-1] if functions else ""
