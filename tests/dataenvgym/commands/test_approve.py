"""A person in the loop: the plan is shown, and the answer is a yes, a no, or an edited plan."""

import json
import os
import shlex
import stat
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from dataenvgym.commands import approve
from dataenvgym.envs.errors import DataError
from dataenvgym.envs.store import read_jsonl
from dataenvgym.envs.types import Plan, Row
from dataenvgym.graphs.config import load_config
from dataenvgym.runs.plans import open_question
from dataenvgym.runs.run import resume, run

Cli = Callable[..., tuple[int, str, str]]
Small = Callable[..., list[str]]

ONE = {"budget.iterations": 1, "budget.rows_per_iteration": 6, "teacher.policy": "weakest_first"}


def begun(small: Small, run_dir: Path, **changes: object) -> Path:
    """A run that waits for a person to answer its first plan."""
    settings = small(**{**ONE, "approve": "true", **changes})[1::2]
    assert run(load_config(None, settings), run_dir).summary is None
    return run_dir


@pytest.fixture(scope="module")
def waiting(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """structure -> a run that waits, made once; only to be read."""
    made: dict[str, Path] = {}

    def get(structure: str) -> Path:
        if structure not in made:
            policy = "null" if structure == "open_ended" else "weakest_first"
            folder = tmp_path_factory.mktemp("waiting") / structure
            changes = {"structure": structure, "teacher.policy": policy, "budget.rows_per_iteration": 12}
            made[structure] = begun(small, folder, **changes)
        return made[structure]

    return get


def plan_of(run_dir: Path) -> dict[str, Any]:
    question = open_question(run_dir)
    assert question is not None
    plan: dict[str, Any] = question["plan"]
    return plan


class Person:
    """Types the given answers; `seen` is what the screen shows."""

    def __init__(self, *answers: str) -> None:
        self.answers, self.asked = list(answers), 0
        self.screen = StringIO()
        self.console = Console(file=self.screen, width=120)

    def read(self, prompt: str) -> str:
        self.asked += 1
        if not self.answers:
            raise EOFError
        return self.answers.pop(0)

    @property
    def seen(self) -> str:
        return " ".join(self.screen.getvalue().split())


def asked(run_dir: Path, person: Person) -> Any:
    return approve.ask(open_question(run_dir), run_dir, person.console, person.read)


# The question


def test_the_plan_is_shown_with_a_running_total(waiting: Any) -> None:
    person, run_dir = Person("yes"), waiting("skill_tree")
    assert asked(run_dir, person) == "yes"
    requests, total = plan_of(run_dir)["requests"], 0
    for request in requests:
        total += request["count"]
        line = f"{request['skill']} {request['subskill']} {request['count']} {total} {request['reason']}"
        assert line in person.seen
    assert "of 12" in person.seen


@pytest.mark.parametrize(("said", "answer"), [("y", "yes"), ("Yes", "yes"), ("no", None), ("N", None)])
def test_a_word_is_an_answer(said: str, answer: str | None, waiting: Any) -> None:
    assert asked(waiting("skill_list"), Person(said)) == answer


def test_the_end_of_input_leaves_the_question_open(waiting: Any) -> None:
    assert asked(waiting("skill_list"), Person()) is None


def test_a_name_with_brackets_is_no_markup(waiting: Any, tmp_path: Path) -> None:
    person = Person("[bold]nothing.yaml", "no")
    assert asked(waiting("skill_list"), person) is None
    assert "[bold]nothing.yaml: cannot be read" in person.seen


@pytest.mark.parametrize("form", ["yaml", "json", "jsonl", "list"])
def test_the_path_of_an_edited_plan_is_an_answer(form: str, waiting: Any, tmp_path: Path) -> None:
    run_dir = waiting("skill_list")
    plan = plan_of(run_dir)
    plan["requests"] = [{**plan["requests"][0], "count": 3, "reason": "three of them"}]
    bare = [{key: value for key, value in plan["requests"][0].items() if key != "id"}]
    text = {
        "yaml": yaml.safe_dump(plan),
        "json": json.dumps({"plan": plan}, indent="\t"),
        "jsonl": Plan.model_validate(plan).model_dump_json() + "\n",
        "list": yaml.safe_dump(bare),
    }[form]
    (tmp_path / "edited plan.txt").write_text(text)
    person = Person(f"'{tmp_path / 'edited plan.txt'}'")
    assert asked(run_dir, person) == plan
    assert "3 3 three of them" in person.seen


BAD: dict[str, tuple[Any, str]] = {
    "no text": (b"\xff\xfe\xff", "not a text file"),
    "no YAML": ("requests: [", "neither YAML nor JSON"),
    "no plan": ("just words", "is not a plan"),
    "a missing key": ([{"skill": "chain"}], "requests.0.count: Field required"),
    "a wrong type": ([{"skill": "chain", "count": "many"}], "requests.0.count: Input should be a valid integer"),
    "an unknown key": ([{"skill": "chain", "count": 1, "rows": 1}], "requests.0.rows: Extra inputs"),
    "too many rows": ([{"skill": "chain", "count": 13}], "the plan asks for 13 rows; iteration 1 may have 12"),
    "no rows": ([{"skill": "chain", "count": 0}], "the plan asks for no rows"),
    "an unknown skill": ([{"skill": "chian", "count": 1}], "unknown skill 'chian'. Did you mean 'chain'?"),
    "an unknown instance": ([{"skill": "chain", "count": 1, "exemplars": ["x/1"]}], "no instance 'x/1'"),
    "an id twice": ([{"id": "a", "skill": s, "count": 1} for s in ("chain", "double")], "have the id 'a'"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_plan_is_told_and_asked_again(case: str, waiting: Any, tmp_path: Path) -> None:
    content, said = BAD[case]
    path = tmp_path / "edited.yaml"
    data = content if isinstance(content, str | bytes) else yaml.safe_dump(content)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    person = Person(str(path), "", "yes")
    assert asked(waiting("skill_list"), person) == "yes"
    assert said in person.seen
    assert person.asked == 3


def test_an_open_ended_plan_names_skills_freely(waiting: Any, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("- {skill: something new, count: 2}")
    answer = asked(waiting("open_ended"), Person(str(tmp_path / "plan.yaml")))
    assert [request["skill"] for request in answer["requests"]] == ["something new"]


def test_in_the_skill_tree_the_allocations_follow_the_requests(waiting: Any, tmp_path: Path) -> None:
    run_dir = waiting("skill_tree")
    first, second, *_ = plan_of(run_dir)["requests"]
    edited = [{**first, "count": 4}, {"skill": second["skill"], "subskill": "one of mine", "count": 2}]
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(edited))
    answer = asked(run_dir, Person(str(tmp_path / "plan.yaml")))
    deltas = {action["skill"]: action["deltas"] for action in answer["actions"]}
    assert deltas == {first["skill"]: {first["subskill"]: 4}, second["skill"]: {"one of mine": 2}}


# The editor


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """$EDITOR becomes a program that runs Python on the text of the file, as `text`."""

    def become(code: str) -> None:
        program = tmp_path / "an editor.py"
        program.write_text(
            f"#!{sys.executable}\nimport pathlib, sys\npath = pathlib.Path(sys.argv[-1])\n"
            f"text = path.read_text()\n{code}\npath.write_text(text)\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.setenv("EDITOR", f"{shlex.quote(str(program))} --wait")

    return become


@pytest.fixture
def own(small: Small, waiting: Any, tmp_path: Path) -> Path:
    """A copy of the waiting run, to write into; its graph does not go on."""
    import shutil

    return shutil.copytree(waiting("skill_list"), tmp_path / "own")


def test_edit_opens_the_plan_in_the_editor(own: Path, editor: Any) -> None:
    editor("text = text.replace('count: 1', 'count: 0', 3)")
    answer = asked(own, Person("edit"))
    counts = [request["count"] for request in answer["requests"]]
    assert counts == [0, 0, 0, *[1] * (len(counts) - 3)]


def test_a_bad_edit_is_kept_and_mended(own: Path, editor: Any) -> None:
    editor("text = text.replace('count: 1', 'count: 100', 1)")
    person = Person("edit")
    assert asked(own, person) is None
    assert "may have 12" in person.seen
    editor("text = text.replace('count: 100', 'count: 0', 1)")
    assert asked(own, Person("edit"))["requests"][0]["count"] == 0


def test_an_unchanged_plan_is_no_yes(own: Path, editor: Any) -> None:
    editor("")
    person = Person("edit", "no")
    assert asked(own, person) is None
    assert "the plan is unchanged" in person.seen


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (None, "$EDITOR is not set. Edit"),
        ("/no/such/editor", "cannot be started"),
        ("false", "ended with status 1"),
    ],
)
def test_without_a_working_editor_the_file_is_named(
    command: str | None, said: str, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.delenv("EDITOR", raising=False)
    if command:
        monkeypatch.setenv("EDITOR", command)
    person = Person("edit", "no")
    assert asked(own, person) is None
    path = own / "iterations/001/plan-to-edit.yaml"
    assert said in person.seen and path.name in person.seen
    assert approve.read_plan(path, approve.latest_observation(own), Plan.model_validate(plan_of(own)))


# Whole runs


def test_without_a_terminal_the_run_stops_and_says_how_to_answer(cli: Cli, small: Small, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    status, out, err = cli("run", *small(**ONE), "--approve", "--out", run_dir)
    assert (status, err) == (130, "")
    assert f"dataenvgym resume {run_dir} --plan yes\n" in out
    assert "of 6" in out
    editable = run_dir / "iterations/001/plan-to-edit.yaml"
    edited = yaml.safe_load(editable.read_text())
    edited["requests"] = edited["requests"][:2]

    (tmp_path / "bad.yaml").write_text("- {skill: chain, count: 7}")
    for wrong, said in ((tmp_path / "bad.yaml", "may have 6"), ("no", "Expected yes")):
        status, _, err = cli("resume", run_dir, "--plan", wrong)
        assert status == 1
        assert said in err

    editable.write_text(yaml.safe_dump(edited))
    status, out, err = cli("resume", run_dir, "--plan", editable)
    assert (status, err) == (0, "")
    rows = read_jsonl(run_dir / "iterations/001/accepted-0.jsonl", Row)
    assert [row.skill for row in rows] == [request["skill"] for request in edited["requests"]]

    status, _, err = cli("resume", run_dir, "--plan", "yes")
    assert status == 1
    assert "has no plan that waits for approval" in err


def test_one_answer_is_for_one_plan(cli: Cli, small: Small, tmp_path: Path) -> None:
    run_dir = begun(small, tmp_path / "run", **{"budget.iterations": 2, "budget.rows_per_iteration": 1})
    status, out, _ = cli("resume", run_dir, "--plan", "yes")
    assert status == 130
    assert "iteration 2: the plan of" in out
    assert not list(run_dir.glob("iterations/002/generated*"))


def test_a_no_ends_the_run_and_is_asked_again(small: Small, tmp_path: Path) -> None:
    run_dir = begun(small, tmp_path / "run")
    person = Person("no", "yes")
    assert approve.resume_asking(run_dir, person.console, read=person.read).summary is None
    assert "the question stays open" in person.seen
    assert not list(run_dir.glob("iterations/001/generated*"))
    assert approve.resume_asking(run_dir, person.console, read=person.read).summary is not None
    assert "6 accepted" in person.seen


def test_from_python_none_leaves_the_question_open(small: Small, tmp_path: Path) -> None:
    run_dir = begun(small, tmp_path / "run")
    events: list[str] = []
    outcome = resume(run_dir, approve=lambda _: None, on_event=lambda event: events.append(event["event"]))
    assert outcome.summary is None
    assert events[-1] == "waiting"
    assert open_question(run_dir) is not None


def test_a_copied_run_goes_on_in_its_own_folder(cli: Cli, own: Path, waiting: Any) -> None:
    first = waiting("skill_list")
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    assert cli("resume", own, "--plan", "yes")[0] == 0
    assert (own / "summary.json").is_file()
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_at_a_terminal(small: Small, tmp_path: Path) -> None:
    """The command itself, with a pseudo-terminal for its input and output."""
    import pty

    (tmp_path / "edited.yaml").write_text("- {skill: chain, count: 2}")
    command = [sys.executable, "-m", "dataenvgym.cli", "run", *small(**ONE), "--approve"]
    answers = [b"perhaps", str(tmp_path / "edited.yaml").encode()]
    child, terminal = pty.fork()
    if child == 0:
        os.environ["COLUMNS"] = "300"
        os.execv(command[0], [*command, "--out", str(tmp_path / "run")])
    screen = unread = b""
    while True:
        try:
            found = os.read(terminal, 4096)
        except OSError:  # what a closed pseudo-terminal gives on Linux
            found = b""
        if not found:
            break
        screen, unread = screen + found, unread + found
        if approve.QUESTION.encode() in unread:
            unread = b""
            os.write(terminal, answers.pop(0) + b"\n")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, screen.decode()
    assert b"perhaps: cannot be read" in screen
    assert [row.skill for row in read_jsonl(tmp_path / "run/iterations/001/accepted-0.jsonl", Row)] == [
        "chain"
    ] * 2


def test_a_plan_that_cannot_be_generated_says_so_at_once(waiting: Any, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("- {skill: chian, count: 100}")
    with pytest.raises(DataError, match=r"(?s)100 rows.*Did you mean 'chain'"):
        approve.read_plan(tmp_path / "plan.yaml", approve.latest_observation(waiting("skill_list")))
