"""Code within text: fenced blocks as CommonMark knows them (0.31, section 4.5)."""

import re

_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})(.*)")


def extract_code(text: str) -> str | None:
    """The code in a model's text, or None when there is none.

    That is the last complete fenced block that is not blank, whatever stands around it; else what follows the
    last fence that was never closed, as in an answer cut short; else the text itself, when no fence is in it.
    """
    complete: str | None = None
    begun: str | None = None
    inside: list[str] = []
    opened: tuple[str, str] | None = None
    fenced = False
    for line in text.replace("\r\n", "\n").split("\n"):
        found = _FENCE.fullmatch(line)
        if opened is None:
            if found and not (found[2][0] == "`" and "`" in found[3]):  # else it is code within a line
                opened, inside, fenced = (found[1], found[2]), [], True
        elif found and found[2].startswith(opened[1]) and not found[3].strip() and _near(found[1], opened[0]):
            complete = _joined(inside, opened[0]) or complete
            opened = None
        else:
            inside.append(line)
    if opened is not None:
        begun = _joined(inside, opened[0])
    if fenced:
        return complete or begun
    return _joined(text.replace("\r\n", "\n").split("\n"), "")


def render_code(solution: str, code: str) -> str:
    """What a student learns to write: the words, if any, then the code in a fence longer than any in it."""
    longest = max((len(run) for run in re.findall("`{3,}", code)), default=2)
    fence = "`" * (longest + 1)
    block = f"{fence}python\n{same_code(code)}\n{fence}"
    return f"{solution.strip()}\n{block}" if solution.strip() else block


def without_fence(code: str) -> str:
    """What should be code alone, without the fence that a model may have put around it."""
    return extract_code(code) or code if code.lstrip().startswith(("```", "~~~")) else code


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
