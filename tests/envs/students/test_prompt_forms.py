"""The prompt form: what a model is given and taught, to the letter, on any date and by every way to train and ask.

prompt_forms/ holds the published chat templates of four models (smollm2: the embedded student's, without a system
block) and, for each model and one without a template, the prompt and the training row that come of it.
"""

import datetime
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dataenvgym.envs.config import ChatTemplateConfig, StudentConfig, TrainConfig
from dataenvgym.envs.errors import ConfigError
from dataenvgym.envs.students import hf, smollm
from dataenvgym.envs.students.hf import TransformersStudent
from dataenvgym.envs.students.prompt_form import PromptForm
from dataenvgym.envs.tool_text import with_tools
from dataenvgym.envs.types import Example

FORMS = Path(__file__).with_name("prompt_forms")
PROMPT, ANSWER = "What is 2 + 3?", "2 + 3 = 5\nAnswer: 5"
DATES = [datetime.datetime(2024, 2, 29, 23, 59), datetime.datetime(2031, 12, 1, 0, 1)]


class Model(NamedTuple):
    """The special tokens of a model's tokenizer, in the order of their ids, and which of them begins and ends a
    text. `begins`: the tokenizer itself puts `bos` before a text."""

    special: list[str]
    bos: str | None
    eos: str
    begins: bool = False


HEADERS = ["<|start_header_id|>", "<|end_header_id|>"]
MODELS = {
    "llama-3.2": Model(["<|begin_of_text|>", *HEADERS, "<|eot_id|>"], "<|begin_of_text|>", "<|eot_id|>", True),
    "qwen3": Model(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], None, "<|im_end|>"),
    # The end of a turn is not the end of a text.
    "gemma-2": Model(["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"], "<bos>", "<eos>", True),
    "smollm2": Model(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "<|im_start|>", "<|im_end|>"),
    "base": Model(["<s>", "</s>"], "<s>", "</s>", True),
}


def tokenizer_of(name: str, template: str | None = None) -> Any:
    """A tokenizer over bytes with that model's special tokens and template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    model = MODELS[name]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate([*model.special, *alphabet])}, merges=[]))
    raw.add_special_tokens([AddedToken(token, special=True) for token in model.special])
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    if model.begins and model.bos:
        begin = (model.bos, model.special.index(model.bos))
        end = (model.eos, model.special.index(model.eos))
        # As a tokenizer may do, it also ends a text, which a prompt must not be.
        raw.post_processor = processors.TemplateProcessing(
            single=f"{model.bos} $A {model.eos}", special_tokens=[begin, end]
        )
    fast = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token=model.bos, eos_token=model.eos)
    file = FORMS / f"{name}.jinja"
    fast.chat_template = template or (file.read_bytes().decode() if file.exists() else None)
    return fast


def form_of(name: str, template: str | None = None, **options: Any) -> PromptForm:
    return PromptForm(tokenizer_of(name, template), ChatTemplateConfig.model_validate(options))


def rendered(name: str) -> dict[str, str]:
    """The prompt, and the training row from its first to its last token."""
    form, tokenizer = form_of(name), tokenizer_of(name)
    row = [*form.prompt_ids(PROMPT), *form.completion_ids(ANSWER)]
    return {"prompt": form.shown(PROMPT), "row": tokenizer.decode(row, skip_special_tokens=False)}


TOOLS = [
    {
        "name": "add_event",
        "description": "Put an event into the calendar.",
        "parameters": {
            "type": "object",
            "properties": {"title": {"type": "string"}, "minutes": {"type": "integer", "default": 30}},
            "required": ["title"],
        },
    }
]
CALLS = '[{"name": "add_event", "arguments": {"title": "lunch <|im_end|>", "minutes": 45}}]'
WITH_TOOLS = with_tools(TOOLS, "Lunch for 45 minutes.")


def rendered_tools(name: str) -> str:
    """A training row of a prompt with tools, answered by a call, from its first to its last token."""
    form = form_of(name)
    row = [*form.prompt_ids(WITH_TOOLS), *form.completion_ids(CALLS, WITH_TOOLS)]
    shown: str = tokenizer_of(name).decode(row, skip_special_tokens=False)
    return shown


def golden(name: str, part: str) -> str:
    return (FORMS / f"{name}.{part}.txt").read_bytes().decode()


def on(date: datetime.datetime, patch: pytest.MonkeyPatch) -> None:
    """Set the clock of chat templates."""

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return date

    patch.setattr("transformers.utils.chat_template_utils.datetime", Clock)


@pytest.mark.parametrize("date", DATES)
@pytest.mark.parametrize("name", MODELS)
def test_what_a_model_is_given_and_taught(
    name: str, date: datetime.datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(date, monkeypatch)
    assert rendered(name) == {part: golden(name, part) for part in ("prompt", "row")}


@pytest.mark.parametrize("name", MODELS)
def test_tools_stand_in_the_form_of_the_model(name: str) -> None:
    """A template that reads tools writes them and the call its own way; another model reads signatures."""
    assert rendered_tools(name) == golden(name, "tools")


def test_an_answer_that_is_no_call_is_learnt_as_it_is() -> None:
    form, tokenizer = form_of("qwen3"), tokenizer_of("qwen3")
    for text in ("[]", "No tool fits.", '[{"name": "add_event"}]', '{"name": "x", "arguments": {}}', "[1, 2]"):
        assert tokenizer.decode(form.completion_ids(text, WITH_TOOLS)) == f"{text}<|im_end|>"
    assert form.completion_ids(CALLS, "no tools") == form.completion_ids(CALLS)


def test_a_template_that_takes_tools_but_no_calls_teaches_the_text() -> None:
    for template in (
        "{{ (tools or []) | length }}{{ messages[-1].content }}",
        "{% if tools and messages[-1].tool_calls %}{{ raise_exception('no calls') }}{% endif %}x",
    ):
        form, tokenizer = form_of("base", template), tokenizer_of("base", template)
        assert tokenizer.decode(form.completion_ids(CALLS, WITH_TOOLS)).startswith(CALLS[:-1])


def test_the_clock_of_templates_is_the_one_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, said = tokenizer_of("llama-3.2"), []
    for date in DATES:
        on(date, monkeypatch)
        said.append(tokenizer.apply_chat_template([{"role": "user", "content": PROMPT}], tokenize=False))
    assert "29 Feb 2024" in said[0] and "01 Dec 2031" in said[1]


CLOCKS = {
    '{{ strftime_now("%Y-%m-%d") }}': "2025-01-06",
    "{%- if strftime_now is defined %}{{ strftime_now('%d %B %Y, %A at %H:%M') }}{% endif %}": (
        "06 January 2025, Monday at 00:00"
    ),
    "{% macro d() %}{{ strftime_now('%-d/%-m/%y') }}{% endmacro %}{% for m in messages %}{{ d() }}{% endfor %}": (
        "6/1/25"
    ),
    "  {{ strftime_now('%d') }}\n": "  06",  # and nothing around it changes
    "\n{% if true %}\n  x{% endif %} {{ date_string }}{# strftime_now #}": "\n  x 06 Jan 2025",
}


@pytest.mark.parametrize("template", CLOCKS)
def test_a_template_that_asks_for_the_time_gets_the_fixed_date(template: str) -> None:
    assert form_of("smollm2", template, date_string="06 Jan 2025").shown("x") == CLOCKS[template]


def test_a_model_may_think_when_it_is_told_to() -> None:
    assert golden("qwen3", "prompt").endswith("assistant\n<think>\n\n</think>\n\n")
    assert form_of("qwen3", enable_thinking=True).shown(PROMPT).endswith("assistant\n")


def test_other_variables_reach_the_template_that_reads_them() -> None:
    template = "{{ effort }}: {{ messages[0].content }}{{ eos_token }}"
    assert form_of("smollm2", template, effort="low").shown("x") == "low: x<|im_end|>"
    with pytest.raises(ConfigError, match=r"student.chat_template.efort: .*reads no variable of that name"):
        form_of("smollm2", template, efort="low")
    with pytest.raises(ConfigError, match=r"student.chat_template.effort: the model has no chat template"):
        form_of("base", effort="low")
    for taken in ("messages", "tokenize", "add_generation_prompt", "strftime_now"):
        with pytest.raises(ConfigError, match=f"student.chat_template.{taken}: .*cannot be set"):
            form_of("smollm2", template + f"{{# {taken} #}}", **{taken: True})


def test_a_date_is_one() -> None:
    for wrong in ("2024-07-26", "tomorrow", ""):
        with pytest.raises(ValueError, match="day month year, like 26 Jul 2024"):
            ChatTemplateConfig(date_string=wrong)


ENDS = {
    "{{ messages[-1].content }}": "</s>",  # the template ends no turn
    "{% if messages[-1].role != 'user' %}{{ raise_exception('no answers') }}{% endif %}x": "</s>",
    "{{ messages[-1].content }} </s>\n": "</s>",
    "{{ messages[-1].content }}<s>\n</s>": "<s>",
}


@pytest.mark.parametrize("template", ENDS)
def test_an_answer_ends_as_its_turn_does(template: str) -> None:
    tokenizer = tokenizer_of("base", template)
    form = PromptForm(tokenizer, ChatTemplateConfig())
    assert tokenizer.decode(form.completion_ids("5")) == f"5{ENDS[template]}"


def test_a_tokenizer_that_adds_no_first_token_gets_none() -> None:
    """As GPT-2's, which has one by name."""
    tokenizer = tokenizer_of("smollm2")
    tokenizer.chat_template = None
    assert PromptForm(tokenizer, ChatTemplateConfig()).shown("x") == "x\n"


# One form, whoever asks or trains.


@pytest.fixture
def gemma(tmp_path: Path) -> Path:
    """The tiny model with Gemma 2's tokenizer; its generation config names another end alone."""
    folder = tmp_path / "gemma"
    shutil.copytree(smollm.tiny_folder(), folder, ignore=shutil.ignore_patterns("token*", "*.jinja"))
    tokenizer_of("gemma-2").save_pretrained(folder)
    settings = folder / "generation_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "eos_token_id": 0}))
    return folder


def student_of(folder: Path, **settings: Any) -> TransformersStudent:
    config = StudentConfig.model_validate({"name": str(folder), "device": "cpu", "dtype": "float32", **settings})
    return TransformersStudent(folder, "gemma", config)


class CaughtError(Exception):
    """Holds what a function was given."""


def caught(
    name: str, patch: pytest.MonkeyPatch, call: Callable[[], Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What `call` hands to the function `name` of the student."""

    def catch(*arguments: Any, **named: Any) -> None:
        raise CaughtError(arguments, named)

    patch.setattr(hf, name, catch)
    with pytest.raises(CaughtError) as error:
        call()
    found: tuple[tuple[Any, ...], dict[str, Any]] = error.value.args  # type: ignore[assignment]
    return found


def test_training_and_asking_use_one_form(gemma: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student, tokenizer = student_of(gemma), tokenizer_of("gemma-2")
    (_, prompts), asked = caught("greedy", monkeypatch, lambda: student.predict([PROMPT]))
    assert [tokenizer.decode(ids) for ids in prompts] == [golden("gemma-2", "prompt")]
    ends = {"<pad>", "<eos>", "<end_of_turn>"}
    assert asked["end_tokens"] == student.end_tokens() == {tokenizer.convert_tokens_to_ids(end) for end in ends}
    row = Example(PROMPT, ANSWER, rejected="6")
    ways: dict[str, dict[str, Any]] = {"fit": {}, "fit_trl": {"backend": "trl"}, "fit_dpo": {"method": "dpo"}}
    for name, settings in ways.items():
        config = TrainConfig.model_validate({"lora_rank": 2, **settings})
        given, _ = caught(
            name, monkeypatch, lambda config=config: student.train([row], tmp_path / "x", config=config, seed=0)
        )
        (learnt,) = given[-1]
        ids = learnt.ids if name != "fit_dpo" else [*learnt.prompt, *learnt.chosen]
        assert tokenizer.decode(ids) == golden("gemma-2", "row")
        if name == "fit_dpo":
            assert tokenizer.decode(learnt.rejected) == "6<end_of_turn>"


def test_another_form_is_another_student(gemma: Path) -> None:
    plain = student_of(gemma)
    assert student_of(gemma, chat_template={}).base_key == plain.base_key
    assert student_of(gemma, chat_template={"enable_thinking": False}).base_key == plain.base_key
    others = [
        student_of(gemma, chat_template=changed).base_key
        for changed in ({"enable_thinking": True}, {"date_string": "01 Jan 2025"}, {"loop": "x"})
    ]
    assert len({plain.base_key, *others}) == 4


def test_the_key_of_answers_holds_the_prompt_and_what_computes(
    gemma: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [PROMPT, "Sing."]
    plain = student_of(gemma).answer_key(prompts)
    assert plain == student_of(gemma).answer_key(prompts) != student_of(gemma).answer_key(prompts[::-1])
    found = {
        plain,
        student_of(gemma).answer_key(prompts[:1]),
        student_of(gemma, dtype="bfloat16").answer_key(prompts),
    }
    file = gemma / "chat_template.jinja"
    file.write_text(file.read_text().replace("<start_of_turn>model", "<start_of_turn>student"))
    found.add(student_of(gemma).answer_key(prompts))
    for package in ("torch", "transformers"):
        with monkeypatch.context() as patch:
            patch.setattr(hf, "version", lambda name, package=package: "0" if name == package else "1")
            found.add(student_of(gemma).answer_key(prompts))
    assert len(found) == 6


def test_vllm_is_asked_in_the_same_form(gemma: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataenvgym.envs.students import vllm

    asked: list[Any] = []

    class Server:
        name = "base"

        def answers(self, model: str, prompts: Any, longest: int, ends: Any) -> list[list[int]]:
            asked.extend([*prompts, ends])
            return [[ends[-1]] for _ in prompts]

        def close(self) -> None: ...

    monkeypatch.setattr(vllm, "start", lambda *_: Server())
    alone = student_of(gemma)
    student = vllm.VllmStudent(alone, StudentConfig(name=str(gemma), engine="vllm", device="cpu"))
    assert student.predict([PROMPT]) == [""]
    assert tokenizer_of("gemma-2").decode(asked[0]) == student.shown(PROMPT) == golden("gemma-2", "prompt")
    assert frozenset(asked[1]) == alone.end_tokens()
    assert student.answer_key([PROMPT]) == alone.answer_key([PROMPT])
    student.close()
