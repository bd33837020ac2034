"""The protocol of students, whatever they run on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from dataenvgym.envs.config import TrainConfig
from dataenvgym.envs.types import Example, Progress


@dataclass(frozen=True)
class TrainSummary:
    """The result of one training. `hits` has one entry per row given.

    `left_out`: rows whose prompt alone reaches the length limit of a training row; nothing was learnt from them.
    `micro_batch`: rows computed at once at the end (None if the trainer has no such setting). `losses`: the loss
    of some 50 steps, evenly spread. `peak_memory_mb`: peak of the GPU's tensors; on a CPU, of the whole process.
    `notes`: events during the training in words, e.g. that memory ran out.
    """

    rows: int
    steps: int
    seconds: float
    tokens: int
    final_loss: float
    hits: list[bool] | None = field(default=None, repr=False)
    """Whether the student would have written the row's completion word for word when it first met the row
    (greedy, teacher-forced, before the step that learns from it); None where the trainer cannot tell."""
    left_out: int = 0
    micro_batch: int | None = None
    tokens_per_second: float | None = None
    peak_memory_mb: float | None = None
    losses: list[float] = field(default_factory=list, repr=False)
    notes: list[str] = field(default_factory=list, repr=False)


class Student(Protocol):
    """A model that answers prompts and learns from examples.

    `base_key` identifies the weights, the number format and the prompt form, so that equal keys mean equal
    answers; keys of trained students are chained from it.
    """

    base_key: str
    generation_key: str

    def predict(
        self, prompts: Sequence[str], images: Sequence[str] | None = None, progress: Progress | None = None
    ) -> list[str]:
        """Return one greedy answer per prompt, in order, with the adapter loaded last."""
        ...

    def train(
        self,
        examples: Sequence[Example],
        out: Path,
        *,
        config: TrainConfig,
        seed: int,
        start: Path | None = None,
        progress: Progress | None = None,
    ) -> TrainSummary:
        """Fit an adapter to the examples and write it (safetensors) into the folder `out`.

        Last, write `train.json` beside it, the summary as a JSON object; its presence marks a finished training.
        `start`: folder of the adapter to continue from; None trains a fresh one on the base.
        """
        ...

    def load(self, adapter: Path | None) -> None:
        """Answer with this adapter from now on; None: the base."""
        ...

    def close(self) -> None:
        """Free the weights."""
        ...


@runtime_checkable
class Rendering(Protocol):
    """What a student may offer besides, if it puts prompts into a form of its own."""

    def answer_key(self, prompts: Sequence[str]) -> str:
        """Digest what answers to the prompts depend on besides the two keys: the rendered prompts, and what
        computes the answers. Answers are cached under it too."""
        ...

    def shown(self, prompt: str) -> str:
        """Return a prompt as the model gets it, with special tokens visible."""
        ...


def answer_key(student: Student, prompts: Sequence[str]) -> str:
    """Return the student's own key of answers; "" if it has none."""
    return student.answer_key(prompts) if isinstance(student, Rendering) else ""


def shown(student: Student, prompt: str) -> str:
    """Return a prompt as the student's model gets it; without a form of its own that is the prompt."""
    return student.shown(prompt) if isinstance(student, Rendering) else prompt
