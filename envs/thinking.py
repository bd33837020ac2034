"""Where the thinking of a reply begins and ends, in the usual mark-ups. Thinking is never data.

Sources: the chat templates of DeepSeek R1, Qwen3, QwQ, Magistral, Kimi, Seed-OSS, Command A and Sky-T1, and
OpenAI's harmony format.
"""

from __future__ import annotations

import re

_NAMES = r"(?:seed:)?(?:think|thinking|thoughts?|reasoning|reason|reflection|scratchpad|analysis|inner_monologue)"
OPENING = re.compile(
    rf"<{_NAMES}(?:\s[^<>]*)?>|\[THINK\]|◁think▷|<\|begin_of_thought\|>|<\|START_THINKING\|>"
    r"|(?:<\|start\|>\s*assistant\s*)?<\|channel\|>\s*(?:analysis|commentary(?!\s*to=))\s*(?:<\|message\|>)?"
    r"|\Aanalysis(?=.*assistant\s*final)",
    re.IGNORECASE | re.DOTALL,
)
CLOSING = re.compile(
    rf"</{_NAMES}\s*>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<\|END_THINKING\|>|assistant\s*final(?=\W)"
    r"|<\|channel\|>\s*final\s*(?:<\|message\|>)?",
    re.IGNORECASE,
)
_CHANNEL_END = re.compile(r"<\|(?:end|start|channel|call|return)\|>", re.IGNORECASE)
_TAG = re.compile(r"[a-z:_]+", re.IGNORECASE)


def end_of_thinking(text: str, opening: re.Match[str]) -> int:
    """Where the thinking ends that begins with the match of `OPENING`; the text's end where nothing closes it."""
    if "<|channel|>" in opening[0].lower():
        end = _CHANNEL_END.search(text, opening.end())
        return end.start() if end else len(text)
    tag = _TAG.search(opening[0])
    name = tag[0].lower() if tag else ""
    depth, at = 1, opening.end()
    both = re.compile(f"(?P<open>{OPENING.pattern})|(?:{CLOSING.pattern})", OPENING.flags)
    while found := both.search(text, at):
        at = found.end()
        if found["open"] is None:
            depth -= 1
        elif (other := _TAG.search(found[0])) and other[0].lower() == name:
            depth += 1
        if not depth:
            return at
    return len(text)


def without_thinking(text: str) -> str:
    """What a text says outside its thinking; the empty text where the thinking is not closed.

    Of a closing mark without an opening one (it stands in the prompt) what comes before is thinking too.
    """
    kept: list[str] = []
    at = 0
    both = re.compile(f"(?P<open>{OPENING.pattern})|(?:{CLOSING.pattern})", OPENING.flags)
    while found := both.search(text, at):
        if found["open"] is None:
            kept, at = [], found.end()
        else:
            kept.append(text[at : found.start()])
            at = end_of_thinking(text, found)
    return "".join(kept) + text[at:]
