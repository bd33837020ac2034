"""A domain of another package: one folder, registered by an entry point or by `imports`; ours stays as it is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("warm_processes")

PACKAGE = {
    "__init__.py": """
import sys

from dataenvgym.envs.domains import find_in

find_in(sys.modules[__name__])
""",
    "domain.py": """
from pydantic import BaseModel, Field

from dataenvgym.envs.domains.base import DOMAINS, Domain, DomainSpec

INSTRUCTION = "Say the opposite in one word."


class WordRow(BaseModel):
    question: str = Field(min_length=1)
    solution: str = ""
    answer: str = Field(min_length=1)


WORDS = Domain(
    name="words",
    instruction=INSTRUCTION,
    render_answer=lambda solution, answer: answer,
    extract=lambda text: text.strip().split()[0] if text.strip() else None,
    equal=lambda gold, other: gold == other.lower(),
    row_model=WordRow,
)
DOMAINS["words"] = DomainSpec("words", "opposites of words", __package__, WordRow, INSTRUCTION)
""",
    "curriculum.py": """
from dataclasses import dataclass

from dataenvgym.envs.domains.base import Curriculum

PAIRS = {
    "size": {"big": "small", "tall": "short", "wide": "narrow", "huge": "tiny", "long": "brief", "thick": "thin"},
    "speed": {"fast": "slow", "quick": "lazy", "rapid": "gradual", "swift": "sluggish", "hasty": "calm",
              "early": "late"},
}


@dataclass(frozen=True)
class Pairs:
    summary: str
    variants: tuple[str, ...] = ("plain",)


def ask(word, number):
    return f"What is the opposite of {word}? ({number})"


def skill_of(question):
    return next((s for s, pairs in PAIRS.items() if any(f" {w}?" in question for w in pairs)), None)


def answer_of(question):
    return next((o for pairs in PAIRS.values() for w, o in pairs.items() if f" {w}?" in question), None)


def draw(skill, seed, index, variant):
    words = list(PAIRS[skill])
    question = ask(words[index % len(words)], 1000 + 97 * seed + index)
    return question, lambda: {"question": question, "solution": "", "answer": answer_of(question)}


CURRICULUM = Curriculum(
    skills={name: Pairs(f"opposites of words of {name}") for name in PAIRS},
    recognise=skill_of,
    identity=lambda question: question,
    draw=draw,
    solve=answer_of,
    wrong=lambda question, answer, rng: answer + "x",
    copy=lambda question, answer: {"question": question, "solution": "", "answer": answer},
)
""",
    "tasks/__init__.py": "",
    "tasks/opposites.py": """
from WORDS_PACKAGE.curriculum import PAIRS, ask
from WORDS_PACKAGE.domain import WORDS

from dataenvgym.envs.tasks import Task, task
from dataenvgym.envs.types import Instance


@task("opposites", domain="words", summary="twelve opposites", gold_skills=True, embedded=True, answer_tokens=8)
def load(config):
    items = [
        Instance(id=f"{skill}-{n}", question=ask(word, n), answer=opposite, solution="", skill=skill)
        for skill, pairs in PAIRS.items()
        for n, (word, opposite) in enumerate(pairs.items())
    ]
    return Task("opposites", WORDS, tuple(items[0::3]), tuple(items[1::3]), tuple(items[2::3]))
""",
    "prompts/label_skills.jinja": """---
extends: shared/label_skills
---
{% block naming %}
- Name the kind of word, such as size.
{% endblock %}
""",
}


def install(folder: Path, package: str, point: bool) -> None:
    for name, text in PACKAGE.items():
        file = folder / package / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("WORDS_PACKAGE", package).lstrip("\n"))
    if point:
        info = folder / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[dataenvgym.domains]\nwords = {package}\n")


def cli(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "150"}
    command = [sys.executable, "-m", "dataenvgym.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["entry point", "imports"])
def test_an_episode_of_each_structure_runs_in_a_domain_of_another_package(way: str, tmp_path: Path) -> None:
    package = f"words_by_{way.replace(' ', '_')}"
    install(tmp_path, package, point=way == "entry point")
    imports = [] if way == "entry point" else ["--set", f"imports=[{package}]"]
    small = ["student.name=tiny", "budget.iterations=1", "budget.rows_per_iteration=8", "task.name=opposites"]
    settings = [word for setting in small for word in ("--set", setting)]
    for structure in ("open_ended", "skill_list", "skill_tree"):
        out = tmp_path / structure
        ended = cli(tmp_path, "run", *imports, *settings, "--set", f"structure={structure}", "--out", str(out))
        assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
        summary = json.loads((out / "summary.json").read_text())
        assert summary["test"]["best"]["n"] == 4 and [point["rows"] for point in summary["val"]][-1] == 8


def test_what_an_entry_point_brings_is_listed_and_shown(tmp_path: Path) -> None:
    install(tmp_path, "words_listed", point=True)
    listed = cli(tmp_path, "list", "tasks")
    assert "opposites" in listed.stdout and "words" in listed.stdout, listed.stderr
    shown = cli(tmp_path, "prompts", "show", "words/label_skills", "--rendered")
    assert "Name the kind of word, such as size." in shown.stdout, shown.stderr
    unknown = cli(tmp_path, "run", "--set", "task.name=oposites")
    assert "Did you mean 'opposites'?" in unknown.stderr


def test_a_broken_package_is_named_and_breaks_nothing(tmp_path: Path) -> None:
    install(tmp_path, "words_broken", point=True)
    (tmp_path / "words_broken" / "domain.py").write_text("import no_such_module\n")
    listed = cli(tmp_path, "list", "tasks")
    assert listed.returncode == 0 and "arithmetic" in listed.stdout and "opposites" not in listed.stdout
    assert "words_broken" in listed.stderr and "no_such_module" in listed.stderr


def test_two_packages_with_one_name_are_an_error_that_names_both(tmp_path: Path) -> None:
    for package in ("words_one", "words_two"):
        install(tmp_path, package, point=True)
    listed = cli(tmp_path, "list", "tasks")
    assert listed.returncode != 0
    assert "words_one" in listed.stderr and "words_two" in listed.stderr and "Traceback" not in listed.stderr
