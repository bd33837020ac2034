"""The offline teacher model `scripted`: a chat model that needs no key and no network.

It is a test instrument, not a language model: it writes problems from the procedural generators of a domain's
curriculum. Results that use it must say so.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from random import Random
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, InvalidToolCall, ToolCall, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from dataenvgym.agents.scripted import replies
from dataenvgym.agents.scripted.filler import fill
from dataenvgym.envs.domains.base import DOMAINS, Curriculum
from dataenvgym.envs.errors import TeacherError

MODEL_NAME = "scripted"


class ScriptedChatModel(BaseChatModel):
    """A test instrument that answers the prompts of `prompts/` through the one tool bound to it.

    The reply is a pure function of the messages, the requested tool and the seed (the field, and a `seed` given to
    the call or bound, which gives another sample of the same prompt). The error rates exercise the code that
    processes replies. Token counts are a rough estimate, a quarter of the characters.
    """

    seed: int = 0
    domain: str = Field("math", description="The domain whose curriculum it teaches.")
    wrong_answer: float = Field(0.0, ge=0, le=1, description="Share of rows with a changed answer.")
    duplicate: float = Field(0.0, ge=0, le=1, description="Share of rows that repeat an earlier row.")
    malformed: float = Field(0.0, ge=0, le=1, description="Share of replies cut short within their JSON.")
    copied: float = Field(0.0, ge=0, le=1, description="Share of rows that copy a val problem shown.")
    wrong_solution: float = Field(0.0, ge=0, le=1, description="Share of solutions with a changed answer.")
    drop: float = Field(0.0, ge=0, le=1, description="Share of items, of any kind, left out of a reply.")
    delay_seconds: float = Field(0.0, ge=0, description="Wait before each reply.")

    @property
    def _llm_type(self) -> str:
        return MODEL_NAME

    @property
    def _identifying_params(self) -> dict[str, Any]:
        names = ("wrong_answer", "duplicate", "malformed", "copied", "wrong_solution", "drop")
        rates = {name: getattr(self, name) for name in names}
        return {"model": MODEL_NAME, "seed": self.seed, **rates}

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools to the model; `tool_choice` names the one to call, by default the first."""
        schemas = [convert_to_openai_tool(tool) for tool in tools]
        return self.bind(tools=schemas, tool_choice=tool_choice, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        time.sleep(self.delay_seconds)
        return self._result(messages, kwargs)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        await asyncio.sleep(self.delay_seconds)
        # In a thread, because the first use of a generator imports for seconds and would block the event loop.
        return await asyncio.to_thread(self._result, messages, kwargs)

    def _result(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> ChatResult:
        tool = _asked_tool(kwargs.get("tools") or [], kwargs.get("tool_choice"))
        texts = [(message.type, str(message.text)) for message in messages]
        prompt = "\n".join(str(message.text) for message in messages if isinstance(message, HumanMessage))
        key = json.dumps([self.seed, kwargs.get("seed"), tool, texts])
        digest = sha256(key.encode()).hexdigest()
        curriculum = self._curriculum()
        items = replies.items(tool, prompt, Random(digest), curriculum)
        if items is None:
            reply, message = _filled(kwargs.get("tools") or [], kwargs.get("tool_choice"), messages, digest)
        else:
            # Errors use a separate random stream, so that the same problems are written with and without them.
            rng = Random(f"{digest}/errors")
            reply, message = self._reply(tool, self._spoil(tool, prompt, items, rng, curriculum), digest, rng)
        shown = sum(len(text) for _, text in texts) + len(json.dumps(kwargs.get("tools") or []))
        sent, received = shown // 4 + 1, len(reply) // 4 + 1
        message.usage_metadata = {
            "input_tokens": sent,
            "output_tokens": received,
            "total_tokens": sent + received,
        }
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _curriculum(self) -> Curriculum:
        found = DOMAINS.find(self.domain).curriculum()
        if found is None:
            raise TeacherError(
                f"the scripted model cannot teach the domain {self.domain!r}, which has no "
                "curriculum.py. Name a language model in teacher.llm.model, or write a curriculum (docs/tasks.md)."
            )
        return found

    def _reply(self, tool: str, items: list[dict[str, Any]], digest: str, rng: Random) -> tuple[str, AIMessage]:
        """Return (the text that a server would send, the message), malformed at the configured rate."""
        args = {"items": items}
        text, call_id = json.dumps(args), f"call_{digest[:24]}"
        if rng.random() >= self.malformed:
            call = ToolCall(name=tool, args=args, id=call_id, type="tool_call")
            return text, AIMessage("", tool_calls=[call], response_metadata=_metadata("tool_calls"))
        cut = text[: rng.randint(len(text) // 2, len(text) - 1)]
        # Servers differ: some report an unreadable call as a call, others as text.
        if rng.random() < 0.5:
            return cut, AIMessage(cut, response_metadata=_metadata("length"))
        bad = InvalidToolCall(name=tool, args=cut, id=call_id, error="cut short", type="invalid_tool_call")
        return cut, AIMessage("", invalid_tool_calls=[bad], response_metadata=_metadata("length"))

    def _spoil(
        self, tool: str, prompt: str, items: list[dict[str, Any]], rng: Random, curriculum: Curriculum
    ) -> list[dict[str, Any]]:
        """Apply the configured shares of wrong answers, duplicates, copies and omissions to the items."""
        kept: list[dict[str, Any]] = []
        copies = self.copied and tool == "submit_rows"
        errors = replies.errors_shown(prompt, curriculum) if copies else []
        wrong_share = {"submit_rows": self.wrong_answer, "submit_solutions": self.wrong_solution}.get(tool, 0.0)
        for item in items:
            drop, duplicate, wrong = (rng.random() for _ in range(3))
            if drop < self.drop:
                continue
            if tool == "submit_rows" and kept and duplicate < self.duplicate:
                kept.append(dict(rng.choice(kept)))
            elif errors and rng.random() < self.copied:
                kept.append(dict(rng.choice(errors)))
            elif wrong < wrong_share:
                kept.append(replies.spoiled(item, prompt, rng, curriculum))
            else:
                kept.append(item)
        return kept


def _filled(
    tools: Sequence[dict[str, Any]],
    choice: str | dict[str, Any] | None,
    messages: Sequence[BaseMessage],
    digest: str,
) -> tuple[str, AIMessage]:
    """Call a tool that is none of the prompts', with filler: the chosen one, else each in turn, then none.

    So an agent that may call several tools has called each once when it ends.
    """
    called = sum(isinstance(message, ToolMessage) for message in messages)
    names = [str(tool["function"]["name"]) for tool in tools]
    chosen = _asked_tool(tools, choice) if choice not in (None, "auto") else (names[called:] or [""])[0]
    if not chosen:
        reply = (
            f"Done: {called} tools called." if called else "The scripted model has nothing to say without a tool."
        )
        return reply, AIMessage(reply, response_metadata=_metadata("stop"))
    schema = next(tool["function"].get("parameters") or {} for tool in tools if tool["function"]["name"] == chosen)
    prompt = "\n".join(str(message.text) for message in messages if isinstance(message, HumanMessage))
    args = fill(schema, prompt, Random(digest))
    call = ToolCall(name=chosen, args=args, id=f"call_{digest[:24]}", type="tool_call")
    return json.dumps(args), AIMessage("", tool_calls=[call], response_metadata=_metadata("tool_calls"))


def _metadata(finish_reason: str) -> dict[str, Any]:
    return {"model_name": MODEL_NAME, "finish_reason": finish_reason}


def _asked_tool(tools: Sequence[dict[str, Any]], choice: str | dict[str, Any] | None) -> str:
    """Return the name of the tool to call: the chosen one, else the first; '' if there is none."""
    names = [str(tool["function"]["name"]) for tool in tools]
    wanted = choice.get("function", {}).get("name") if isinstance(choice, dict) else choice
    return wanted if wanted in names else (names or [""])[0]
