"""How a math answer is found in a text and compared with the gold answer. See docs/answer_forms.md."""

import re
from functools import lru_cache

from dataenvgym.envs.domains.math.scoring.forms import normal_form, quick
from dataenvgym.envs.domains.math.scoring.worker import compare

MAX_TEXT = 50_000
"""Only this many characters at the end of a text are searched for an answer."""
MAX_ANSWER = 1_000
"""A longer answer is wrong unless it is the gold answer, character for character."""
_MAX_BOXES = 20  # a longer search back through unclosed boxes would only cost time

_LINE = re.compile(
    r"^[ \t>#*_-]*(?:the[ \t]+)?(?:final[ \t]+)?answer[ \t]*(?:\*\*|__)?[ \t]*(?::|=)[ \t]*(?:\*\*|__)?(.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_PHRASE = re.compile(
    r"\b(?:answer[ \t]*(?:\*\*|__)?[ \t]*:|answer[ \t]+is)[ \t]*:?[ \t]*(?:\*\*|__)?(.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_HASHES = re.compile(r"####[ \t]*(\S.*)$", re.MULTILINE)
_DIGITS = r"[0-9][0-9,]*(?:\.[0-9]+)?(?:/[0-9]+)?%?"
_NUMBER = re.compile(rf"(?<![\w.)\]}}])[-−]?\$?(?:{_DIGITS}|\.[0-9]+%?)|(?<![0-9]){_DIGITS}")


def extract_answer(text: str) -> str | None:
    """The answer that a text gives, or None.

    The first of these that the text has, and of several the last: a line `Answer: X` (any case, bold,
    `Final answer: X`); `\\boxed{X}`, `\\fbox{X}` or `\\boxed X`; GSM8K's `#### X`; `... the answer is X`
    within a line; a number. Formula delimiters and a full stop around X are dropped, units are kept.
    Never raises on text.
    """
    # Runs of blanks would make the patterns below take quadratic time.
    text = re.sub(r"[ \t]+", " ", text[-MAX_TEXT:])
    found = _marked(text, _LINE) or _clean(boxed(text) or "")
    if not found and (hashes := _HASHES.findall(text)):
        found = _clean(hashes[-1])
    # In worked solutions "the answer is" often begins a remark, so every other mark comes before it.
    found = found or _marked(text, _PHRASE)
    if not found and (numbers := _NUMBER.findall(text)):
        found = _clean(numbers[-1])
    return found or None


def _marked(text: str, marker: re.Pattern[str]) -> str:
    """What follows the last marker that something follows, on its line or alone on the next."""
    for match in reversed(list(marker.finditer(text))):
        found = match[1] if match[1].strip(" *_") else _next_line(text, match.end())
        if marker is _PHRASE:
            found = re.split(r"\.(?:\s|$)", found, maxsplit=1)[0]
        answer = _clean(boxed(found) or found)
        if answer:
            return answer
    return ""


def boxed(text: str) -> str | None:
    """What stands in the last `\\boxed{...}` or `\\fbox{...}`, braces balanced; `\\boxed 5` gives `5`."""
    for match in list(re.finditer(r"\\(?:boxed|fbox)(?![A-Za-z])\s?", text))[: -_MAX_BOXES - 1 : -1]:
        rest = text[match.end() : match.end() + 2 * MAX_ANSWER].lstrip()
        if not rest.startswith("{"):
            bare = re.match(r"[^\s$.,;\\]+(?:\.\d+)?", rest)
            if bare:
                return bare[0]
            continue
        depth = 0
        for i, char in enumerate(rest):
            escaped = i > 0 and rest[i - 1] == "\\"
            depth += 0 if escaped else (char == "{") - (char == "}")
            if depth == 0:
                if rest[1:i].strip():
                    return rest[1:i].strip()
                break
    return None


def _next_line(text: str, start: int) -> str:
    """The first line with content after a marker that stands alone."""
    lines = (line for line in text[start : start + 2_000].splitlines() if line.strip("\t *_[]\\$"))
    return next(lines, "")


def _clean(answer: str) -> str:
    """One line, without Markdown, formula delimiters and punctuation around the answer."""
    s = " ".join(answer.split())
    for _ in range(10):
        before = s
        s = s.strip(' `*_"').rstrip(".,;:")
        for left, right in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
            inner = s[len(left) : -len(right)]
            if len(s) > len(left + right) and s.startswith(left) and s.endswith(right) and left not in inner:
                s = inner
        if s == before:
            break
    # Where the line went on after the formula, its last backslash may be half of a delimiter.
    return re.sub(r"\s*\\$", "", s)


@lru_cache(maxsize=16_384)
def equal(gold: str, answer: str) -> bool:
    """Whether an answer is the gold answer; what counts as the same is in docs/answer_forms.md.

    Same text after normalisation, or same number, or else the same by structure and algebra, which runs
    in a child process under a limit of processor time. Any text is fine: what cannot be read, or takes
    too long, is not equal. May be called from any thread.

    Raises:
        MissingDependencyError: algebra is needed and `math-verify` is not installed.
    """
    if gold.strip() == answer.strip():
        return bool(gold.strip())
    if max(len(gold), len(answer)) > MAX_ANSWER:
        return False
    first, second = normal_form(gold), normal_form(answer)
    settled = quick(first, second)
    return compare(first, second) if settled is None else settled
