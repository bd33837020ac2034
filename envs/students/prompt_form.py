"""How a prompt is put to a model and how an answer ends: one form for every way to train and to ask."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Sequence
from typing import Any

from dataenvgym.envs.config import ChatTemplateConfig
from dataenvgym.envs.errors import ConfigError
from dataenvgym.envs.tool_text import as_text, split_tools

VERSION = 2
"""Changes when the same model and options give another form; part of the key of models whose form it is."""
ANSWER = "answer"
# Directives of strftime without a width or a time zone, and those without padding.
DIRECTIVES = [*"aAbBcdHIjmMpSUwWxXyY", *(f"-{letter}" for letter in "dmHIMSjy")]


class PromptForm:
    """A user turn in the model's chat template, then the assistant's opening.

    A model without a chat template gets the prompt as a line, after the tokens that its tokenizer begins a text
    with. Tools in front of a prompt (`envs.tool_text`) become the template's `tools`, and calls its `tool_calls`,
    where it reads them; else they stand in the prompt as text.

    Args:
        tokenizer: the model's, of transformers.
        options: the variables of the template.

    Raises:
        ConfigError: an option that the template does not read, or that is not free.
    """

    def __init__(self, tokenizer: Any, options: ChatTemplateConfig) -> None:
        self._tokenizer = tokenizer
        self._options = options.model_dump()
        self._template: str | None = None
        if tokenizer.chat_template is not None:
            self._template = with_fixed_clock(tokenizer.get_chat_template(), options)
        self._check(options.model_extra or {})
        self._takes_tools = re.search(r"\btools\b", self._template or "") is not None
        self._opening = [] if self._template else self._first_tokens()
        self.end = self._turn_end()
        """The token that ends an answer: that which ends a turn of the template, else that which ends a text."""

    def prompt_ids(self, prompt: str) -> list[int]:
        """Return the tokens that an answer follows."""
        if self._template is None:
            return [*self._opening, *self._ids(f"{_as_text(prompt)}\n")]
        return self._ids(self._prompt(prompt))

    def completion_ids(self, text: str, prompt: str = "") -> list[int]:
        """Return the tokens of an answer to the prompt as it is learnt, with the token that ends it."""
        return [*self._ids(self._completion(text, prompt)), *([] if self.end is None else [self.end])]

    def shown(self, prompt: str) -> str:
        """Return the text of a prompt's tokens, special ones included."""
        found: str = self._tokenizer.decode(
            self.prompt_ids(prompt), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return found

    def _prompt(self, prompt: str) -> str:
        tools, text = split_tools(prompt) if self._takes_tools else (None, _as_text(prompt))
        return self._render([{"role": "user", "content": text}], tools=tools)

    def _completion(self, text: str, prompt: str) -> str:
        """The answer, calls as the template writes them; unchanged where they do not follow its opening."""
        from jinja2 import TemplateError

        tools, asked = split_tools(prompt) if self._takes_tools else (None, prompt)
        if tools is None or not (calls := _calls(text)):
            return text
        turns: list[dict[str, Any]] = [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": "", "tool_calls": calls},
        ]
        try:
            whole, before = self._render(turns, opening=False, tools=tools), self._prompt(prompt)
        except (TemplateError, TypeError):  # it takes tools, but no calls, or not several
            return text
        if not whole.startswith(before) or len(whole) == len(before):
            return text
        end = "" if self.end is None else self._tokenizer.convert_ids_to_tokens(self.end)
        answer = whole[len(before) :]
        return answer[: answer.rindex(end)] if end and end in answer else answer

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _render(
        self, messages: Sequence[dict[str, Any]], opening: bool = True, tools: list[dict[str, Any]] | None = None
    ) -> str:
        shown = None if tools is None else [{"type": "function", "function": tool} for tool in tools]
        text: str = self._tokenizer.apply_chat_template(
            list(messages),
            tools=shown,
            chat_template=self._template,
            tokenize=False,
            add_generation_prompt=opening,
            **self._options,
        )
        return text

    def _first_tokens(self) -> list[int]:
        """Return what the tokenizer puts before a text, such as BOS; what it puts after one ends no prompt."""
        whole, text = list(self._tokenizer("x")["input_ids"]), self._ids("x")
        starts = (at for at in range(len(whole)) if whole[at : at + len(text)] == text)
        return whole[: next(starts, 0)]

    def _turn_end(self) -> int | None:
        """Find the first special token that the template puts after an answer."""
        from jinja2 import TemplateError

        tokenizer, after = self._tokenizer, ""
        if self._template is not None:
            turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": ANSWER}]
            try:
                after = self._render(turns, opening=False).rpartition(ANSWER)[2]
            except TemplateError:  # it takes no answers
                after = ""
        special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
        special.update(tokenizer.all_special_ids)
        end: int | None = next((token for token in self._ids(after) if token in special), tokenizer.eos_token_id)
        return end

    def _check(self, given: dict[str, Any]) -> None:
        taken = {"messages", "strftime_now", *inspect.signature(self._tokenizer.apply_chat_template).parameters}
        for name in given:
            key = f"student.chat_template.{name}"
            if self._template is None:
                raise ConfigError(f"{key}: the model has no chat template")
            if name in taken - {"kwargs"}:
                raise ConfigError(f"{key}: the project itself gives it to the template, so it cannot be set")
            if not re.search(rf"\b{re.escape(name)}\b", self._template):
                raise ConfigError(f"{key}: the model's chat template reads no variable of that name")


def _as_text(prompt: str) -> str:
    tools, text = split_tools(prompt)
    return prompt if tools is None else as_text(tools, text)


def _calls(text: str) -> list[dict[str, Any]]:
    """The calls of an answer in a template's form; none if it is no list of calls."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    named = isinstance(found, list) and all(isinstance(c, dict) and {*c} == {"name", "arguments"} for c in found)
    return (
        [{"type": "function", "id": f"call{n:05d}", "function": call} for n, call in enumerate(found)]
        if named
        else []
    )


def with_fixed_clock(template: str, options: ChatTemplateConfig) -> str:
    """Return the template, in which `strftime_now` gives the fixed date (at midnight) in place of today's.

    The macro hides the function of that name which transformers gives to templates. A function cannot be passed:
    templates get plain values only.
    """
    if "strftime_now" not in template:
        return template
    date = options.date()
    steps = "".join(f"|replace('%{name}', {date.strftime(f'%{name}')!r})" for name in DIRECTIVES)
    return f"{{% macro strftime_now(format) %}}{{{{ format{steps} }}}}{{% endmacro %}}\n{template}"
