"""Code within text: fenced blocks as CommonMark knows them (0.31, section 4.5)."""

import ast
import re
from textwrap import dedent
from typing import NamedTuple

_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})(.*)")
_QUOTED = re.compile(r"[ \t]*(?:>[ \t]?)+")
# Possessive, so that the search is linear in the line.
_LATE = re.compile(r"(?P<before>(?:(?!```|~~~).)*+)(?P<fence>`{3,}+|~{3,}+)[ \t]*+(?P<info>[\w.+#-]*+)[ \t]*+")
_TRIED = 8
"""Places at which a block that was not rightly closed may end, and that are tried."""
_PARSED = 100_000
"""Characters of code that are parsed to see whether it is Python: much longer code can exhaust the parser."""


class _Opening(NamedTuple):
    """Of a line that opens a block: what stands before each line of it, its indent, the fence."""

    quote: str
    indent: str
    fence: str


def extract_code(text: str) -> str | None:
    """The code in a model's text, or None when there is none.

    That is the last complete fenced block that is not blank, whatever stands around it; else what follows the
    last fence that was never closed, as in an answer cut short; else the text itself, when no fence is in it.

    Models write what CommonMark does not know, and it is read as they mean it: a fence that opens after words on
    the same line ("the code: ```python"), and, in a block with no rightful end, one that closes before words or
    after code.
    """
    complete: str | None = None
    begun: str | None = None
    inside: list[str] = []
    opened: _Opening | None = None
    fenced = False
    for line in text.replace("\r\n", "\n").split("\n"):
        if opened is None:
            if (opened := _opening(line)) is not None:
                inside, fenced = [], True
            continue
        line = line.removeprefix(opened.quote if line.startswith(opened.quote) else opened.quote.rstrip())
        if _closes(line, opened):
            complete = _joined(inside, opened.indent) or complete
            opened = None
        else:
            inside.append(line)
    if opened is not None:
        begun, ended = _unclosed(inside, opened)
        if ended:
            complete = begun or complete
    if fenced:
        return complete or begun
    return _joined(text.replace("\r\n", "\n").split("\n"), "")


def _opening(line: str) -> _Opening | None:
    quote = found[0] if (found := _QUOTED.match(line)) else ""
    if plain := _FENCE.fullmatch(line[len(quote) :]):
        code_in_line = plain[2][0] == "`" and "`" in plain[3]
        return None if code_in_line else _Opening(quote, plain[1], plain[2])
    late = _LATE.fullmatch(line)
    # Without a language it must stand apart from the words: "return x```" closes, if anything.
    apart = late and re.search(r"[\s:\u200b\ufeff]\Z", late["before"])
    return _Opening("", "", late["fence"]) if late and (late["info"] or apart) else None


def _closes(line: str, opened: _Opening) -> bool:
    found = _FENCE.fullmatch(line)
    return bool(
        found and found[2].startswith(opened.fence) and not found[3].strip() and _near(found[1], opened.indent)
    )


def _unclosed(inside: list[str], opened: _Opening) -> tuple[str | None, bool]:
    """The code of a block that nothing closes as it should, and whether something else ends it: a fence before
    words, one far from the margin, or one right after code. Such an end counts when what stands before is Python
    (else it may be a docstring's) or when the fence begins its line at the margin."""
    marked = [n for n, line in enumerate(inside) if opened.fence in line]
    for n in marked[:_TRIED]:
        before, _, _ = inside[n].partition(opened.fence)
        code = _joined([*inside[:n], *([before] if before.strip() else [])], opened.indent)
        if code is not None and (inside[n].startswith(opened.indent + opened.fence) or _parses(code)):
            return code, True
    return _joined(inside, opened.indent), False


def _parses(code: str) -> bool:
    if len(code) > _PARSED:
        return False
    try:
        ast.parse(dedent(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def render_code(solution: str, code: str) -> str:
    """What a student learns to write: the words, if any, then the code in a fence longer than any in it."""
    longest = max((len(run) for run in re.findall("`{3,}", code)), default=2)
    fence = "`" * (longest + 1)
    block = f"{fence}python\n{same_code(code)}\n{fence}"
    return f"{solution.strip()}\n{block}" if solution.strip() else block


def without_fence(code: str) -> str:
    """What should be code alone, without the fence, and the words before it, that a model may have put around."""
    fenced = code.lstrip().startswith(("```", "~~~")) or ("```" in code and not _parses(code))
    return extract_code(code) or code if fenced else code


def same_code(code: str) -> str:
    """Code without blank lines around it and spaces at the end of lines: equal texts are the same code."""
    lines = [line.rstrip() for line in code.replace("\r\n", "\n").split("\n")]
    return "\n".join(lines).strip("\n")


def _near(indent: str, opening: str) -> bool:
    """Whether a fence may close the block: one that stands further in is the code's own, as in a docstring."""
    return len(indent.expandtabs(4)) <= len(opening.expandtabs(4)) + 3


def _joined(lines: list[str], indent: str) -> str | None:
    """The lines, as far as each is indented like the fence without that; None when all are blank."""
    code = "\n".join(line.removeprefix(indent) for line in lines).strip("\n")
    return code if code.strip() else None
