"""A student in several Ray actors: all of them answer prompts, one of them trains."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import rmtree
from typing import Any, NamedTuple

from dataenvgym.envs.config import ReplicaConfig, TrainConfig
from dataenvgym.envs.errors import ConfigError, DataEnvGymError, TrainingError
from dataenvgym.envs.students.base import Student, TrainSummary, answer_key, shown
from dataenvgym.envs.students.ray_session import check_room, connect, hide_gpus
from dataenvgym.envs.types import Example, Progress

POLL = 0.5  # seconds between two requests for the progress of a training
WORK = "work"


class Replica:
    """The student of an actor. It works in one thread; `progress` answers in another."""

    def __init__(self, make: Callable[[], Student]) -> None:
        hide_gpus()
        self._make = make  # called later, because its errors would be lost while the actor is created
        self._made: Student | None = None
        self._loaded: Path | None = None
        self._progress = (0, 0)

    @property
    def _student(self) -> Student:
        if self._made is None:
            self._made = self._make()
        return self._made

    def keys(self) -> tuple[str, str, str]:
        """Make the student if needed; return its (base_key, generation_key, answer_key without prompts)."""
        return self._student.base_key, self._student.generation_key, answer_key(self._student, [])

    def answer_key(self, prompts: list[str]) -> str:
        """Return the student's own key of answers."""
        return answer_key(self._student, prompts)

    def shown(self, prompt: str) -> str:
        """Return a prompt as the student's model gets it."""
        return shown(self._student, prompt)

    def predict(self, adapter: Path | None, prompts: list[str], images: list[str] | None) -> list[str]:
        """Return one answer per prompt, in order."""
        if adapter != self._loaded:
            self._student.load(adapter)
            self._loaded = adapter
        return self._student.predict(prompts, images)

    def train(
        self, examples: list[Example], out: Path, config: TrainConfig, seed: int, start: Path | None
    ) -> TrainSummary:
        """Train the student, as `Student.train`."""
        self._progress, self._loaded = (0, 0), out
        return self._student.train(
            examples, out, config=config, seed=seed, start=start, progress=self._note_progress
        )

    def _note_progress(self, done: int, total: int) -> None:
        self._progress = (done, total)

    def progress(self) -> tuple[int, int]:
        """Return (done, total) steps of the running training."""
        return self._progress

    def close(self) -> None:
        """Free the weights."""
        self._student.close()


class _Shard(NamedTuple):
    begin: int
    end: int


_STARTING = _Shard(0, 0)


class ReplicatedStudent:
    """The same student in `settings.count` Ray actors. Its answers are those of a single one.

    Adapters are passed as paths, so several machines need shared storage for them. An actor that dies is replaced
    once per call, and its prompts are sent again.

    Args:
        make: makes the student; called in each actor.
        settings: the number of actors and the Ray resources of each.
        shard: most prompts that an actor gets at once.

    Raises:
        MissingDependencyError: Ray is not installed.
        ConfigError: no cluster at the address, too few resources, or the actors' students differ.
    """

    def __init__(self, make: Callable[[], Student], settings: ReplicaConfig, shard: int = 256) -> None:
        self._make, self._settings, self._shard = make, settings, shard
        self._ray, _ = connect(settings.address)
        asked = {"CPU": settings.num_cpus, "GPU": max(settings.num_gpus, settings.train_gpus or 0)}
        check_room(self._ray, asked, settings.address, "a replica of the student")
        self._adapter: Path | None = None
        self._replicas: list[Any] = []
        self._same: tuple[str, str, str] = self._get(self._keys(0))
        self.base_key, self.generation_key, _ = self._same

    def load(self, adapter: Path | None) -> None:
        """Answer with this adapter from now on; each replica reads it at its next call."""
        self._adapter = None if adapter is None else adapter.absolute()

    def predict(
        self, prompts: Sequence[str], images: Sequence[str] | None = None, progress: Progress | None = None
    ) -> list[str]:
        """Return one answer per prompt, in order. Each shard goes to the first free replica.

        Raises:
            DataEnvGymError: every replica and its replacement died; or a replica raised it.
        """
        size = max(1, min(self._shard, -(-len(prompts) // self._settings.count)))
        waiting = deque(_Shard(at, min(at + size, len(prompts))) for at in range(0, len(prompts), size))
        answers: list[str] = [""] * len(prompts)
        count, left = min(self._settings.count, len(waiting)), len(prompts)
        free, deaths = set[int](), [0] * count
        # The work of each replica: a shard, or _STARTING.
        working = {self._keys(number): (number, _STARTING) for number in range(count)}
        while left:
            if not working:
                raise DataEnvGymError("every replica of the student died twice; see the logs of Ray")
            finished, _ = self._ray.wait(list(working))
            for reference in finished:
                number, shard = working.pop(reference)
                try:
                    found = self._get(reference)
                except _DiedError:
                    if shard != _STARTING:
                        waiting.appendleft(shard)
                    deaths[number] += 1
                    if deaths[number] == 1:
                        working[self._keys(number, anew=True)] = (number, _STARTING)
                    continue
                free.add(number)
                if shard == _STARTING:
                    self._check_same(found)
                    continue
                answers[shard.begin : shard.end] = found
                left -= shard.end - shard.begin
                if progress is not None:
                    progress(len(prompts) - left, len(prompts))
            while waiting and free:
                number, shard = free.pop(), waiting.popleft()
                working[self._ask(number, prompts, images, shard)] = (number, shard)
        return answers

    def answer_key(self, prompts: Sequence[str]) -> str:
        """Digest what answers depend on besides weights and settings, as the first replica does."""
        return str(self._ask_first("answer_key", list(prompts)))

    def shown(self, prompt: str) -> str:
        """Return a prompt as the model gets it, with special tokens visible."""
        return str(self._ask_first("shown", prompt))

    def _ask_first(self, method: str, given: Any) -> Any:
        """Call a method of the first replica; one that has died is replaced once."""
        for anew in (False, True):
            call = getattr(self._replica(0, anew), method).options(concurrency_group=WORK)
            try:
                return self._get(call.remote(given))
            except _DiedError:
                if anew:
                    raise
        return None

    def _keys(self, number: int, anew: bool = False) -> Any:
        return self._replica(number, anew).keys.options(concurrency_group=WORK).remote()

    def _ask(self, number: int, prompts: Sequence[str], images: Sequence[str] | None, shard: _Shard) -> Any:
        part = slice(shard.begin, shard.end)
        given = (list(prompts[part]), None if images is None else list(images[part]))
        return self._replica(number).predict.options(concurrency_group=WORK).remote(self._adapter, *given)

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
        """Train in the first replica; with `train_gpus`, end the replicas and train in an actor with those GPUs.

        Raises:
            TrainingError: the actor and its replacement died.
        """
        own, out = self._settings.train_gpus is None, out.absolute()
        if own:
            self._free_others()
        else:
            self.close()  # the training may need their GPUs
        given = (list(examples), out, config, seed, None if start is None else start.absolute())
        for last in (False, True):
            trainer = self._replica(0) if own else self._start(self._settings.train_gpus or 0)
            try:
                return self._await_training(trainer, given, progress)
            except _DiedError as error:
                if last:
                    raise TrainingError(f"the Ray actor that trains the student died twice: {error}") from None
                rmtree(out, ignore_errors=True)
                if own:
                    self._replica(0, anew=True)
            finally:
                if not own:
                    self._ray.kill(trainer)
        raise TrainingError("the training did not begin")

    def _await_training(self, trainer: Any, given: tuple[Any, ...], progress: Progress | None) -> TrainSummary:
        training = trainer.train.options(concurrency_group=WORK).remote(*given)
        while not self._ray.wait([training], timeout=POLL)[0]:
            if progress is not None:
                done, total = self._get(trainer.progress.remote())
                if total:
                    progress(done, total)
        summary: TrainSummary = self._get(training)
        return summary

    def close(self) -> None:
        """End the actors; they start again when needed."""
        for actor in self._replicas:
            if actor is not None:
                self._ray.kill(actor)
        self._replicas = []

    def _replica(self, number: int, anew: bool = False) -> Any:
        while len(self._replicas) <= number:
            self._replicas.append(None)
        if anew or self._replicas[number] is None:
            self._replicas[number] = self._start(self._settings.num_gpus)
        return self._replicas[number]

    def _start(self, gpus: float) -> Any:
        actor = self._ray.remote(num_cpus=self._settings.num_cpus, num_gpus=gpus, concurrency_groups={WORK: 1})
        return actor(Replica).remote(self._make)

    def _free_others(self) -> None:
        """Free the weights of the replicas that do not train; they read new ones after the training."""
        for actor in self._replicas[1:]:
            if actor is not None:
                actor.close.options(concurrency_group=WORK).remote()

    def _check_same(self, keys: tuple[str, str, str]) -> None:
        if keys != self._same:
            raise ConfigError(
                "the replicas' students differ, so their answers would too: nodes with and without a GPU, or "
                "with different processors, choose different number formats. Set student.device and "
                "student.dtype, and install the same torch and transformers on every node"
            )

    def _get(self, reference: Any) -> Any:
        """Return the value of a call. Raise `_DiedError` if its actor is gone, else the student's own error."""
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except exceptions.RayTaskError as error:
            raise error.cause from None
        except exceptions.RayError as error:
            raise _DiedError((str(error).splitlines() or [""])[0]) from None


class _DiedError(DataEnvGymError):
    """An actor is gone: its process or its node has died."""
