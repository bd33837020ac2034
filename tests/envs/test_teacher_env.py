"""The environment around a student: one training per student, one generation per prompt set."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from stub_student import StubStudent

from dataenvgym.envs.cache import cache_dir
from dataenvgym.envs.config import TaskConfig, TrainConfig
from dataenvgym.envs.domains.math.tasks.arithmetic import load
from dataenvgym.envs.teacher_env import TeacherEnv
from dataenvgym.envs.types import Example, Provenance, Row

TASK = load(TaskConfig(name="arithmetic", val_size=2, test_size=1))


class NamedAnswers(StubStudent):
    """Answers with the name of the loaded adapter."""

    fails = False

    def answers(self, prompts: Sequence[str]) -> list[str]:
        return [f"{self.adapter.name if self.adapter else 'base'}\nAnswer: {n}" for n in range(len(prompts))]

    def learn(self, examples: Sequence[Example], out: Path, start: Path | None) -> list[bool]:
        (out / "adapter").write_text("half")
        if self.fails:
            raise KeyboardInterrupt
        return [n % 2 == 0 for n in range(len(examples))]


def rows(*questions: str) -> list[Row]:
    made = Provenance(iteration=1, request="r0", model="m", prompt="p", prompt_hash="0")
    return [Row(id=f"id {q}", question=q, solution="s", answer="1", skill="a", provenance=made) for q in questions]


@pytest.fixture
def student() -> NamedAnswers:
    return NamedAnswers()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAENVGYM_CACHE", str(tmp_path / "cache"))


def env(student: NamedAnswers, tmp_path: Path, seed: int = 0, **train: object) -> TeacherEnv:
    return TeacherEnv(TASK, student, TrainConfig.model_validate(train), tmp_path / "students", seed)


def test_a_student_that_exists_is_not_trained_again(student: NamedAnswers, tmp_path: Path) -> None:
    key = env(student, tmp_path).train([rows("a", "b")], None)
    assert key == env(student, tmp_path).train([rows("a", "b")], None)
    assert len(student.trained) == 1
    lesson = rows("a", "b")
    known = env(student, tmp_path).known([lesson], None, key)
    assert known == {lesson[0].id: True, lesson[1].id: False}
    assert [p.name for p in (tmp_path / "students").iterdir()] == [key]


def test_a_half_written_student_is_trained_again(student: NamedAnswers, tmp_path: Path) -> None:
    student.fails = True
    with pytest.raises(KeyboardInterrupt):
        env(student, tmp_path).train([rows("a")], None)
    assert [p.suffix for p in (tmp_path / "students").iterdir()] == [".partial"]
    student.fails = False
    key = env(student, tmp_path).train([rows("a")], None)
    assert len(student.trained) == 2
    assert [p.name for p in (tmp_path / "students").iterdir()] == [key]


def test_a_folder_without_the_end_mark_is_no_student(student: NamedAnswers, tmp_path: Path) -> None:
    key = env(student, tmp_path).train([rows("a")], None)
    (tmp_path / "students" / key / "train.json").unlink()
    assert env(student, tmp_path).train([rows("a")], None) == key
    assert len(student.trained) == 2
    assert list(env(student, tmp_path).known([rows("a")], None, key).values()) == [True]


def test_from_base_all_lessons_are_learnt_and_the_parent_plays_no_part(
    student: NamedAnswers, tmp_path: Path
) -> None:
    one = env(student, tmp_path, seed=5).train([rows("a"), rows("b", "c")], "parent")
    two = env(student, tmp_path, seed=5).train([rows("a"), rows("b", "c")], None)
    assert one == two
    examples, seed, start = student.trained[0]
    assert examples == [TASK.domain.example(r) for r in rows("a", "b", "c")]
    assert (seed, start) == (5, None)


def test_from_last_only_the_last_lesson_is_learnt_on_the_parents_adapter(
    student: NamedAnswers, tmp_path: Path
) -> None:
    last = env(student, tmp_path, start="last")
    first = last.train([rows("a")], None)
    second = last.train([rows("a"), rows("b", "c")], first)
    assert [start for *_, start in student.trained] == [None, tmp_path / "students" / first]
    assert [len(examples) for examples, *_ in student.trained] == [1, 2]
    assert second != last.train([rows("a"), rows("b", "c")], None)


def test_the_key_depends_on_all_that_makes_a_student(tmp_path: Path) -> None:
    plain = env(NamedAnswers(), tmp_path)
    keys = [
        plain.key(rows("a", "b"), None),
        plain.key(rows("b", "a"), None),
        plain.key(rows("a"), None),
        plain.key(rows("a", "b"), "parent"),
        env(NamedAnswers(), tmp_path, seed=1).key(rows("a", "b"), None),
        env(NamedAnswers(), tmp_path, epochs=2).key(rows("a", "b"), None),
        env(NamedAnswers(), tmp_path, backend="trl").key(rows("a", "b"), None),
        env(NamedAnswers("other"), tmp_path).key(rows("a", "b"), None),
    ]
    assert all(a != b for a, b in itertools.combinations(keys, 2))
    renamed = [r.model_copy(update={"id": "other", "subskill": "x"}) for r in rows("a", "b")]
    assert plain.key(renamed, None) == keys[0]  # what the student does not see makes no other student


def test_training_and_evaluation_use_the_same_prompt(student: NamedAnswers, tmp_path: Path) -> None:
    item = TASK.val[0]
    env(student, tmp_path).train([rows(item.question)], None)
    env(student, tmp_path).evaluate(None, [item], {})
    assert student.trained[0][0][0].prompt == student.asked[0][0] == TASK.domain.prompt(item)


def test_predictions_are_made_once_per_student_and_prompts(student: NamedAnswers, tmp_path: Path) -> None:
    world = env(student, tmp_path)
    key = world.train([rows("a")], None)
    base = world.evaluate(None, TASK.val, {})
    assert world.evaluate(None, TASK.val, {}) == base and len(student.asked) == 1
    trained = world.evaluate(key, TASK.val, {})
    assert len(student.asked) == 2 and trained[0].text.startswith(key)
    assert world.evaluate(key, TASK.val, {}) == trained and len(student.asked) == 2
    world.evaluate(key, TASK.val[1:], {})
    assert len(student.asked) == 3
    student.generation_key = "longer"
    world.evaluate(key, TASK.val, {})
    assert len(student.asked) == 4


class RenderingStudent(NamedAnswers):
    """Puts prompts into a form of its own."""

    form = "{}"

    def answer_key(self, prompts: Sequence[str]) -> str:
        return json.dumps([self.shown(prompt) for prompt in prompts])

    def shown(self, prompt: str) -> str:
        return self.form.format(prompt)


def test_a_prompt_in_another_form_is_asked_anew(tmp_path: Path) -> None:
    student = RenderingStudent()
    world = env(student, tmp_path)
    world.evaluate(None, TASK.val, {})
    world.evaluate(None, TASK.val, {})
    assert len(student.asked) == 1
    student.form = "<s>{}"
    world.evaluate(None, TASK.val, {})
    assert len(student.asked) == 2
    assert world.shown(TASK.val[0]) == f"<s>{TASK.domain.prompt(TASK.val[0])}"
    assert env(NamedAnswers(), tmp_path).shown(TASK.val[0]) == TASK.domain.prompt(TASK.val[0])


def test_answers_are_counted_and_those_from_the_cache(student: NamedAnswers, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    world = TeacherEnv(
        TASK, student, TrainConfig(), tmp_path / "students", answered=lambda *counts: told.append(counts)
    )
    n = len(TASK.val)
    for items in (TASK.val, TASK.val, TASK.val[1:]):
        world.evaluate(None, items, {})
    assert told == [(n, 0), (n, n), (n - 1, 0)]


def test_other_skills_are_read_from_the_same_cached_predictions(student: NamedAnswers, tmp_path: Path) -> None:
    world = env(student, tmp_path)
    world.evaluate(None, TASK.val, {})
    assert {p.skill for p in world.evaluate(None, TASK.val, {i.id: "one" for i in TASK.val})} == {"one"}
    assert len(student.asked) == 1


@pytest.mark.parametrize("content", [b"", b"[", b"\xff\xfe", b"{}", b'["too", "few"]', b"null"])
def test_a_damaged_cache_file_is_made_again(student: NamedAnswers, tmp_path: Path, content: bytes) -> None:
    world = env(student, tmp_path)
    good = world.evaluate(None, TASK.val, {})
    (path,) = (cache_dir() / "predictions").iterdir()
    path.write_bytes(content)
    assert world.evaluate(None, TASK.val, {}) == good
    assert len(student.asked) == 2
    assert world.evaluate(None, TASK.val, {}) == good
    assert len(student.asked) == 2
