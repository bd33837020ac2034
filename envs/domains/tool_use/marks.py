"""The marks that models put around tool calls, and what stands in them.

Sources: the chat templates and tool parsers of Hermes and Qwen, Qwen3-Coder, Llama 3, Mistral, Granite, Phi,
GLM-4.5, Kimi K2 and DeepSeek V3, and OpenAI's harmony format.
"""

from __future__ import annotations

import json
import re

from dataenvgym.envs.domains.tool_use.values import json_value

_BLOCK = re.compile(
    r"<(?P<tag>tool_?calls?|function_?calls?|functions?|tools?|toolcall|call)>(?P<body>.*?)(?:</(?P=tag)>|\Z)"
    r"|(?:\[TOOL_CALLS\]|<\|python_tag\|>|<\|tool_calls?\|>|\bfunctools(?=\[))"
    r"(?P<rest>.*?)(?:</s>|<\|eo[tm]_id\|>|<\|/tool_calls?\|>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_FENCE = re.compile(
    r"```(?:[A-Za-z_+\-]*[ \t]*\r?\n|(?:json|python|tool_code)?[ \t]*)(?P<body>.*?)(?:```|\Z)", re.DOTALL
)
_NAME = r"(?P<name>[\w.\-]{1,64})"
# Marks that hold the name apart from the arguments.
_NAMED = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        rf"<function={_NAME}>(?P<arguments>.*?)(?:</function>|\Z)",
        rf"<tool_call>\s*{_NAME}\s*(?P<arguments><arg_key>.*?)(?:</tool_call>|\Z)",
        rf"\bfunction<｜tool▁sep｜>{_NAME}\s*```(?:json)?(?P<arguments>.*?)(?:```|\Z)",
        rf"(?<![\w.\-])(?!function<){_NAME}<｜tool▁sep｜>(?P<arguments>.*?)(?:<｜tool▁call▁end｜>|\Z)",
        r"<\|tool_call_begin\|>(?:functions\.)?(?P<name>[\w.\-]{1,64})(?::\d+)?\s*<\|tool_call_argument_begin\|>"
        r"(?P<arguments>.*?)(?:<\|tool_call_end\|>|\Z)",
        rf"\bto=functions\.{_NAME}[^{{]{{0,80}}?<\|message\|>(?P<arguments>.*?)(?:<\|call\|>|<\|end\|>|\Z)",
    )
)
_PAIR = re.compile(
    r"<parameter=(?P<name>[\w.\-]+)>\n?(?P<value>.*?)\n?(?:</parameter>|(?=<parameter=)|\Z)"
    r"|<arg_key>(?P<key>[^<]*)</arg_key>\s*<arg_value>(?P<of_key>.*?)(?:</arg_value>|\Z)",
    re.DOTALL,
)


def marked(text: str) -> list[str]:
    """The blocks in marks of tool calls, in order; of a mark with a name of its own, a JSON object."""
    found = [(match.start(), _as_json(match)) for pattern in _NAMED for match in pattern.finditer(text)]
    if found:
        return [block for _, block in sorted(found)]
    return [_unfenced(match["body"] if match["tag"] else match["rest"]) for match in _BLOCK.finditer(text)]


def fenced(text: str) -> list[str]:
    """What stands in the fenced blocks of a text, in order; one that is not closed ends with the text."""
    return [match["body"] for match in _FENCE.finditer(text)]


def _unfenced(block: str) -> str:
    inner = _FENCE.search(block)
    return inner["body"] if inner else block


def _as_json(match: re.Match[str]) -> str:
    given = match["arguments"].strip()
    pairs = {
        pair["name"] or pair["key"].strip(): _value(pair["value"] if pair["name"] else pair["of_key"])
        for pair in _PAIR.finditer(given)
        if not given.startswith("{")
    }
    return json.dumps({"name": match["name"], "arguments": pairs or given})


def _value(text: str) -> object:
    """A value between marks: JSON where it is some, else the text."""
    found = json_value(text)
    return text if found is None else found[0]
