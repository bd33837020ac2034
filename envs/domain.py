"""What differs between domains, as data: how to ask, how to read an answer, what a row looks like."""

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel

from dataenvgym.envs.types import Example, Instance, Row


@dataclass(frozen=True)
class Domain:
    """A domain. The same `prompt` is used before and after training and in every training row."""

    name: str
    instruction: str
    """Stated before each question; it names the answer format."""
    render_answer: Callable[[str, str], str]
    """(worked solution, answer) -> the completion a student is trained to write."""
    extract: Callable[[str], str | None]
    """Student text -> answer, or None when there is none."""
    equal: Callable[[str, str], bool]
    """(gold answer, extracted answer) -> whether they agree."""
    row_model: type[BaseModel]
    """The fields the teacher's model fills in for one row: at least question, solution, answer."""

    def prompt(self, item: Instance | Row) -> str:
        """The user message for an instance or a row."""
        return f"{self.instruction}\n{item.question}"

    def example(self, row: Row | Instance) -> Example:
        """The training example of a row."""
        return Example(self.prompt(row), self.render_answer(row.solution, row.answer))

    def score(self, gold: str, text: str) -> tuple[str | None, bool]:
        """(extracted answer, whether it is right) for a student's text."""
        answer = self.extract(text)
        return answer, answer is not None and self.equal(gold, answer)
