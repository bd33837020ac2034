"""The teacher's part of the config: its policy, its checks, which chat model it asks and how patiently."""

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, ValidationError

from dataenvgym.envs.config import Section
from dataenvgym.envs.errors import ConfigError, UnknownNameError
from dataenvgym.envs.explain import explain

MODEL_NODES = ("discover_skills", "read_feedback", "plan_data", "generate_data", "solve")
"""What asks a chat model, as `teacher.models` names it. `solve` is the check of that name in `verify_data`."""
OF_A_MODEL = ("base_url", "price", "options", "structured", "max_tokens")
"""Settings that another model does not take over from `teacher.llm`."""


class ScriptedConfig(Section):
    """How often the scripted (offline) model errs; each is a share from 0 to 1."""

    wrong_answer: float = Field(0.0, ge=0, le=1, description="Share of rows whose answer is wrong.")
    duplicate: float = Field(0.0, ge=0, le=1, description="Share of rows that repeat an earlier row.")
    malformed: float = Field(0.0, ge=0, le=1, description="Share of replies that are broken JSON.")
    copied: float = Field(
        0.0, ge=0, le=1, description="Share of rows that copy a val problem shown as the student's error."
    )
    wrong_solution: float = Field(0.0, ge=0, le=1, description="Share of wrong answers when asked to solve.")
    drop: float = Field(0.0, ge=0, le=1, description="Share of rows left out of a reply.")
    delay_seconds: float = Field(0.0, ge=0, description="Wait before each reply, in seconds.")


class TeacherModelConfig(Section):
    """Which chat model the teacher asks, and the limits of one call."""

    model: str = Field(
        "scripted",
        min_length=1,
        description="`provider:model`, e.g. openai:gpt-4o-mini, azure_openai:<deployment>, "
        "anthropic:<model>; openai:<name> with `base_url` for any OpenAI-compatible server (vLLM, Ollama, "
        "llama.cpp); "
        "`scripted`: the offline test instrument.",
        json_schema_extra={"examples": ["scripted", "openai:gpt-4o-mini"]},
    )
    base_url: str | None = Field(
        None,
        description="Address of the server, e.g. http://localhost:8000/v1; null: the provider's own. "
        "Azure: the endpoint.",
    )
    temperature: float | None = Field(
        0.7, ge=0, description="Sampling temperature; null: not sent, for models that refuse it."
    )
    timeout: float = Field(60.0, gt=0, description="Seconds one request may take before it is retried.")
    transport_retries: int = Field(
        2, ge=0, description="Times a request is sent again after 429, 5xx, a timeout or a lost connection."
    )
    content_attempts: int = Field(
        3, ge=1, description="Times a prompt is asked in all while the reply holds no valid item."
    )
    max_concurrency: int = Field(
        16, ge=1, description="Calls in flight at once to this model; fewer for a while after a 429."
    )
    requests_per_minute: int | None = Field(
        None, ge=1, description="Requests sent a minute, those sent again too; null: no limit."
    )
    tokens_per_minute: int | None = Field(
        None, ge=1, description="Prompt and completion tokens a minute; null: no limit."
    )
    max_tokens: int | None = Field(
        None,
        ge=1,
        description="Longest reply in tokens; a cut reply keeps its closed items. null: 4096, or 32768 for models "
        "that think before they answer (by their names: o3, gpt-5, deepseek-r1, qwen3 and the like).",
    )
    structured: Literal["auto", "tools", "json_schema", "text"] = Field(
        "auto",
        description="How items are asked for: by a tool, by `response_format` with a JSON schema, or in words. "
        "auto: by a tool; where the server refuses tools, by the next way that it takes.",
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Further parameters of LangChain's client, e.g. {reasoning_effort: low}, {extra_body: {...}}, "
        "or {headers: {X-Team: $TEAM_TOKEN}} with values from the environment.",
    )
    price: tuple[NonNegativeFloat, NonNegativeFloat] | None = Field(
        None,
        description="US dollars per million prompt and completion tokens; null: the built-in table, where it "
        "knows the model.",
    )
    send_seed: bool = Field(
        True, description="Send a seed with each request (OpenAI and compatible servers, Azure)."
    )
    cache: bool = Field(True, description="Answer a repeated identical call from the run's response cache.")
    scripted: ScriptedConfig = Field(
        default_factory=ScriptedConfig, description="Errors of the scripted model; no effect on others."
    )


class CheckConfig(Section):
    """Which checks a generated row must pass, and how strict they are."""

    names: list[str] = Field(
        default=["format", "answer", "duplicate", "contamination", "execute"],
        description="The checks; `dataenvgym list checks` names them. Those that cost nothing run first, in this "
        "order; `student` asks the student, `execute` runs programs (where the domain has any), `solve` asks the "
        "model.",
    )
    student_known: Literal["keep", "drop"] = Field(
        "keep", description="student: rows the student answers already are marked and kept, or dropped."
    )
    solve_samples: int = Field(3, ge=1, description="solve: how many times each problem is solved.")
    solve_per_call: int = Field(5, ge=1, description="solve: problems per call to the model.")
    similarity: float = Field(
        0.9,
        gt=0,
        le=1,
        description="duplicate: MinHash Jaccard similarity of word 3-grams from which two "
        "questions with the same numbers count as the same.",
    )
    overlap: int = Field(
        13, ge=3, description="contamination: so many words in a row shared with a val or test question."
    )
    overlap_action: Literal["mark", "drop"] = Field(
        "mark",
        description="contamination: rows that share that many words, whatever the numbers in them, are marked "
        "(`extra.overlap`, the reason) and kept, or dropped. Rows with a whole question, or with all of its "
        "numbers, are dropped in any case; a procedural task knows its problems and has that rule alone.",
    )


def _policy_names(schema: dict[str, Any]) -> None:
    """Offer the names of the policies there are, where a form is made of the config."""
    from dataenvgym.agents.policies import POLICIES

    schema["examples"] = list(dict.fromkeys(policy.name for policy in POLICIES.values()))


class TeacherConfig(Section):
    """The teacher: policy (reads feedback, plans) and engine (generates, verifies)."""

    graph: str | None = Field(
        None,
        description="A teacher of your own in place of the structure's: `file.py:name` or `module:name` of a "
        "graph, of a plain function from the observation to rows, or of a function of `config` that returns one.",
    )
    policy: str | None = Field(
        None,
        description="Planning policy; null: the structure's default. `dataenvgym list policies` names them; "
        "`file.py:name` or `module:name` is one of your own.",
        json_schema_extra=_policy_names,
    )
    reader: Literal["sample", "model"] = Field(
        "sample",
        description="Feedback reader. sample: planner and generator are shown a sample of the errors; model: a "
        "chat model also reads them and says what the student does wrong. Without state there is nothing to read.",
    )
    llm: TeacherModelConfig = Field(default_factory=TeacherModelConfig, description="The chat model behind it.")
    models: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Settings of teacher.llm that differ for a node, by its name: discover_skills, read_feedback, "
        "plan_data, generate_data, solve; e.g. {generate_data: {model: 'openai:gpt-4o-mini'}}. Where another "
        "model is named, base_url, price, options, structured and max_tokens are its own.",
    )
    prompts: str | None = Field(
        None,
        description="Folder whose templates, <domain>/<name>.jinja, overlay the packaged ones; read anew by every "
        "call.",
    )
    rows_per_call: int = Field(10, ge=1, description="Rows asked of the model in one call.")
    refill_rounds: int = Field(2, ge=0, description="Times the missing rows of a plan are asked for again.")
    errors_shown: int = Field(40, ge=1, description="Errors shown to the planner, in all.")
    errors_per_skill: int = Field(5, ge=0, description="Errors shown per skill, to planner and generator.")
    errors_per_call: int = Field(20, ge=1, description="reader: model: errors shown to the model in one call.")
    exemplars_shown: int = Field(3, ge=0, description="Train instances shown to the generator per call.")
    max_subskills: int = Field(6, ge=1, description="skill_tree: most subskills a skill may have.")
    new_subskills: int = Field(3, ge=1, description="skill_tree: subskills one `explore` opens.")
    rehearsal_rows: int = Field(
        2,
        ge=0,
        description="weakest_first: rows kept for each skill that is mastered (accuracy 0.9 and over).",
    )
    ucb_exploration: float = Field(
        0.1, ge=0, description="ucb: weight of the uncertain skills, in accuracy per iteration."
    )
    checks: CheckConfig = Field(default_factory=CheckConfig, description="What a row must pass.")

    def model_of(self, node: str) -> TeacherModelConfig:
        """Return the chat model of a node: `llm`, with the settings that `models` has for it.

        Raises:
            ConfigError: an unknown key or a value out of range; the text names it.
        """
        given = self.models.get("solve" if node == "verify_data" else node)
        if not given:
            return self.llm
        other = given.get("model", self.llm.model) != self.llm.model
        kept = {key: value for key, value in self.llm.model_dump().items() if not (other and key in OF_A_MODEL)}
        try:
            return TeacherModelConfig.model_validate({**kept, **given})
        except ValidationError as error:
            faults = [explain(one, TeacherModelConfig, f"teacher.models.{node}.") for one in error.errors()]
            raise ConfigError("\n".join(["teacher.models is not valid:", *faults])) from None

    def all_models(self) -> dict[str, TeacherModelConfig]:
        """Return the chat model of each node that may ask one, those of a graph of your own included.

        Raises:
            ConfigError: see `model_of`.
        """
        return {node: self.model_of(node) for node in dict.fromkeys((*MODEL_NODES, *self.models))}

    def check_nodes(self, own: Iterable[str] = ()) -> None:
        """Check that `models` names nodes that ask a model: ours, or one of `own`.

        Raises:
            UnknownNameError: it names another.
        """
        known = {*MODEL_NODES, *own}
        for node in self.models:
            if node not in known:
                raise UnknownNameError("node in teacher.models", node, known)

    def model_names(self) -> str:
        """Name the models: that of `llm`, and the nodes that have another one."""
        others = [
            f"{node} {model.model}" for node, model in self.all_models().items() if model.model != self.llm.model
        ]
        return f"{self.llm.model} ({', '.join(others)})" if others else self.llm.model
