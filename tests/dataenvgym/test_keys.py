"""The keys under which students, answers and trainings are found stay the same.

A changed key makes every student and every answer anew. Where that is meant, run this file for a new table.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from stub_student import StubStudent

from dataenvgym.envs.students import STUDENTS, make_student
from dataenvgym.envs.students.uneven import schooling_key
from dataenvgym.envs.tasks import load_task
from dataenvgym.envs.teacher_env import TeacherEnv
from dataenvgym.envs.types import Provenance, Row
from dataenvgym.graphs.config import load_config

EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIGS: dict[str, tuple[Path | None, list[str]]] = {
    "tiny": (None, ["student.name=tiny"]),
    "demo": (EXAMPLES / "demo.yaml", []),
    "code": (EXAMPLES / "code.yaml", []),
    "tools": (EXAMPLES / "tools.yaml", []),
}
KEYS: dict[str, dict[str, str]] = {
    "tiny": {
        "base": "234a96bad86d7f87",
        "generation": '{"batch_size": 256, "max_new_tokens": 40}',
        "train": "0d06d5b72480298e",
        "training from the base": "6324b22201668fae",
        "training from a student": "eec20026f1ba377e",
        "row schema": "1c081b51a8def747",
        "instances": "4c80187269b4b21d",
        "answers to train": "a98d99045630af2adbe0f740b149bc60",
        "answers to val": "d16b31ff59bec83b82b1078926aade1f",
        "answers to test": "e426efcd2aee8887bb76895912ef1a67",
    },
    "demo": {
        "base": "d4e17f548e16d9c0",
        "generation": '{"batch_size": 256, "max_new_tokens": 40}',
        "train": "899ad4c7f0f3d06c",
        "training from the base": "faba7b855ccce9da",
        "training from a student": "a5ce406c59fde721",
        "row schema": "1c081b51a8def747",
        "instances": "4a371d220bcb2fe0",
        "answers to train": "50df7de619e7e0281cd72337b295f4a2",
        "answers to val": "2360834ee8646195c26365e95963dd84",
        "answers to test": "198bc42906094ab28f69cff7ee6ca13b",
    },
    "code": {
        "base": "d4e17f548e16d9c0",
        "generation": '{"batch_size": 256, "max_new_tokens": 64}',
        "train": "899ad4c7f0f3d06c",
        "training from the base": "c9f94608a593b16f",
        "training from a student": "3fb01918744fdfc2",
        "row schema": "1aa3fb1ccdbc0e78",
        "instances": "bf3aec4a8efb724e",
        "answers to train": "f5b779e0e73e7aa15e07ffe1aaff7966",
        "answers to val": "440df484e01ff45f4f543eb09574902b",
        "answers to test": "86781dda964b37e19f87f8e4a7584f20",
    },
    "tools": {
        "base": "d4e17f548e16d9c0",
        "generation": '{"batch_size": 256, "max_new_tokens": 80}',
        "train": "899ad4c7f0f3d06c",
        "training from the base": "abf3222e1b6cb729",
        "training from a student": "bc08b2c133745607",
        "row schema": "763db0761d4de45d",
        "instances": "6e436460133b07b5",
        "answers to train": "6890fb4f207021a8d88e3f8316026ccb",
        "answers to val": "aa33ed90c4a057c118baf65d790cfd11",
        "answers to test": "bdd0882f1590e534a53449e2516c96f6",
    },
}
SCHOOLING = "uneven-e3443472c2f2"


class Silent(StubStudent):
    """A student with the keys of another, that answers nothing."""

    def __init__(self, keys_of: Any) -> None:
        super().__init__(keys_of.base_key)
        self.generation_key = keys_of.generation_key

    def answers(self, prompts: Sequence[str]) -> list[str]:
        return [""] * len(prompts)


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def keys(name: str, cache: Path, patch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a config's students, trainings and answers are found under."""
    patch.setenv("DATAENVGYM_CACHE", str(cache))
    for model in ("smollm_folder", "tiny_folder"):  # the keys do not depend on where the weights are
        patch.setattr(f"dataenvgym.envs.students.smollm.{model}", lambda: Path("weights"))
    file, changes = CONFIGS[name]
    config = load_config(file, [*changes, "student.device=cpu", "student.dtype=float32"])
    student = make_student(config.student_config())
    task = load_task(config.task)
    train = config.student_config().train
    env = TeacherEnv(task, Silent(student), train, cache / "students", config.seed)
    source = Provenance(iteration=1, request="r0", model="", prompt="", prompt_hash="")
    rows = [
        Row(
            id=item.id,
            question=item.question,
            solution=item.solution,
            answer=item.answer,
            skill=item.skill or "",
            subskill="",
            extra={},
            provenance=source,
        )
        for item in task.train[:8]
    ]
    found = {
        "base": student.base_key,
        "generation": student.generation_key,
        "train": digest(train.identity()),
        "training from the base": env.key(rows, None),
        "training from a student": env.key(rows, "parent"),
        "row schema": digest(task.domain.row_model.model_json_schema()),
        "instances": digest([item.model_dump() for item in (*task.train, *task.val, *task.test)]),
    }
    for split in ("train", "val", "test"):
        before = set((cache / "predictions").glob("*"))
        env.texts(None, [task.domain.prompt(item) for item in getattr(task, split)])
        (made,) = set((cache / "predictions").glob("*")) - before
        found[f"answers to {split}"] = made.stem
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_keys_are_as_before(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert keys(name, tmp_path, monkeypatch) == KEYS[name]


def test_the_schooling_has_the_key_it_had() -> None:
    assert schooling_key() == SCHOOLING
    assert set(STUDENTS) >= {"tiny", "smollm2", "uneven"}


if __name__ == "__main__":
    for config in CONFIGS:
        with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            print(f"{config!r}: {json.dumps(keys(config, Path(folder), patch), indent=4)},")
    print(schooling_key())
