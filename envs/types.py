"""The nouns that every room shares, as pydantic models. On disk each is one line of JSON."""

from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

Progress = Callable[[int, int], None]
"""Called with (done, total) while something works."""

Report = Callable[[str, int, int], None]
"""Called with (what is being done, done, total), where the work has several parts."""


def stage_progress(report: Report | None, what: str) -> Progress | None:
    """The progress of one part of the work."""
    return None if report is None else lambda done, total: report(what, done, total)


class Frozen(BaseModel):
    """Immutable, and a key that is not in the schema is an error, never dropped."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Instance(Frozen):
    """One item of a task."""

    id: str
    question: str
    answer: str
    solution: str = Field("", description="Worked answer without the marked final line; may be empty.")
    skill: str | None = Field(None, description="Gold skill, where the data set has one.")
    extra: dict[str, Any] = Field(default_factory=dict, description="Domain-specific, e.g. level or tests.")


class Provenance(Frozen):
    """Where a training row comes from: which plan, which call, which prompt."""

    iteration: int
    request: str = Field(description="Id of the data request in the iteration's plan.")
    round: int = Field(0, description="0 for the first generation, then one per refill round.")
    model: str
    prompt: str = Field(description="Name of the prompt template.")
    prompt_hash: str = Field(description="sha256 of the rendered prompt, first 16 hex digits.")
    exemplars: list[str] = Field(default_factory=list, description="Ids of the instances shown.")


class Row(Frozen):
    """One training example with its provenance. `solution` ends before the marked answer line."""

    id: str
    question: str
    solution: str
    answer: str
    skill: str
    subskill: str = ""
    extra: dict[str, Any] = Field(default_factory=dict)
    provenance: Provenance


class Prediction(Frozen):
    """What the student said to one instance and how it was scored."""

    id: str
    skill: str
    question: str
    gold: str
    text: str
    answer: str | None = Field(description="The answer extracted from the text; null when none was found.")
    correct: bool
    detail: str = Field("", description="Why it is not right, where running it has shown that.")
    scores: dict[str, float] = Field(
        default_factory=dict, description="Partial scores, 0 to 1, by the names that the domain gives them."
    )


class Verdict(Frozen):
    """What one check says of one row."""

    check: str
    passed: bool
    reason: str = ""
    marks: dict[str, Any] = Field(default_factory=dict, description="What it found out, for the row's `extra`.")


class Rejected(Frozen):
    """A generated row (or raw item that is no row) that failed a check, kept beside the accepted ones."""

    row: dict[str, Any]
    verdicts: list[Verdict]


class DataRequest(Frozen):
    """One entry of a plan: how many rows of which skill, and why."""

    id: str
    skill: str
    subskill: str = ""
    count: int = Field(ge=0)
    reason: str = ""
    exemplars: list[str] = Field(default_factory=list, description="Ids of observed errors or train instances.")


class SkillAction(Frozen):
    """The skill-tree action for one skill (paper, section 2.1): explore or exploit, never both."""

    skill: str
    kind: str = Field(pattern="^(explore|exploit)$")
    new_subskills: int = Field(0, ge=0)
    rows_each: int = Field(0, ge=0)
    deltas: dict[str, int] = Field(default_factory=dict, description="Change of allocation per subskill.")
    reason: str = ""


class Plan(Frozen):
    """The teacher's action for one iteration."""

    policy: str
    requests: list[DataRequest]
    actions: list[SkillAction] = Field(default_factory=list, description="Skill-tree only.")
    notes: str = ""


class Ref(TypedDict):
    """A file of the run, as graph state carries it: `path` is relative to the run folder."""

    path: str
    count: int
    sha256: str


class Interval(NamedTuple):
    """A value with a 95% interval, all as fractions (0 to 1; a gain may be negative)."""

    value: float
    low: float
    high: float


class Example(NamedTuple):
    """What a student is trained on: a prompt as `predict` takes it, and the text to answer.

    `rejected`: a wrong answer that the completion is to be preferred to (`student.train.method: dpo`).
    """

    prompt: str
    completion: str
    image: str | None = None
    rejected: str | None = None
