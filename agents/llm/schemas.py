"""The schemas that chat models fill in. Unknown keys of a reply are ignored; missing ones are faults."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ReplyItem(BaseModel):
    """Base of every item a model returns: lenient about extra keys, immutable once read."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class RequestItem(ReplyItem):
    """One data request: how many rows of which skill, and why."""

    skill: str = Field(min_length=1, description="Skill the new training data should teach.")
    subskill: str = Field("", description="Narrower subskill, or empty.")
    count: int = Field(ge=0, description="How many training rows to generate.")
    reason: str = Field("", description="One sentence: which mistakes this data should repair.")
    exemplars: list[str] = Field(
        default_factory=list, description="Ids of the shown errors or examples to generate from."
    )


class DiagnosisItem(ReplyItem):
    """One thing that the student does wrong."""

    skill: str = Field(min_length=1, description="Name of the skill, spelt as shown.")
    problem: str = Field(min_length=1, description="One sentence: what the student does wrong.")
    practice: str = Field("", description="One sentence: what practice would mend it.")
    examples: list[str] = Field(description="Ids of the shown problems that show it.")


class SubskillItem(ReplyItem):
    """A subskill proposed for a skill."""

    name: str = Field(min_length=1, description="Short name of the subskill, a few words.")
    description: str = Field("", description="One sentence: what a question of it asks for.")


class LabelItem(ReplyItem):
    """The skill of one instance."""

    id: str = Field(min_length=1, description="Id of the instance, as shown.")
    skill: str = Field(min_length=1, description="Name of the skill needed to answer it.")


class SolutionItem(ReplyItem):
    """A model's own solution of one problem."""

    id: str = Field(min_length=1, description="Id of the problem, as shown.")
    solution: str = Field("", description="The working, step by step.")
    answer: str = Field(min_length=1, description="Just the final answer, no words around it.")


class CategoryItem(ReplyItem):
    """A category that merges several skill names; each name belongs to exactly one category."""

    name: str = Field(min_length=1, description="Name of the category, a few words.")
    members: list[str] = Field(description="The skill names merged into it, spelt as shown.")


class Delta(ReplyItem):
    """A change of allocation for one subskill."""

    name: str = Field(min_length=1, description="Name of an existing subskill, spelt as shown.")
    delta: int = Field(description="Rows to add (positive) or to take away (negative).")


class ActionItem(ReplyItem):
    """The action for one skill of the skill tree: explore or exploit, never both."""

    skill: str = Field(min_length=1, description="Name of the skill, spelt as shown.")
    kind: Literal["explore", "exploit"] = Field(
        description="explore: add new subskills; exploit: change the allocation of existing ones."
    )
    new_subskills: int = Field(0, ge=0, description="explore: how many new subskills.")
    rows_each: int = Field(0, ge=0, description="explore: rows for each new subskill.")
    subskills: list[Delta] = Field(
        default_factory=list, description="exploit: the change of allocation per subskill."
    )
    reason: str = Field("", description="One sentence: why this action.")
