"""`dataenvgym prompts`: prompts are listed, shown, copied and checked with what the nodes really give them."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from dataenvgym.agents.config import TeacherModelConfig
from dataenvgym.agents.llm.gateway import Gateway
from dataenvgym.agents.llm.items import tool_schema
from dataenvgym.agents.prompt_files import list_domains, list_prompts
from dataenvgym.agents.prompts import PromptTemplate, load_prompt
from dataenvgym.commands.prompt_samples import HOSTILE, NAMES, item_fields, item_model, samples
from dataenvgym.envs.domains.base import DOMAINS
from dataenvgym.envs.tasks import load_task
from dataenvgym.graphs.config import STRUCTURES, load_config
from dataenvgym.graphs.rehearsal import offline, rehearsed_input
from dataenvgym.graphs.teacher import build_teacher

Cli = Callable[..., tuple[int, str, str]]
Small = Callable[..., list[str]]
SAMPLES = samples("math")


class Given:
    """What the nodes gave and asked: variables by prompt, and (node, tool, item) by prompt."""

    def __init__(self) -> None:
        self.variables: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.asked: dict[str, set[tuple[str, str, type[BaseModel]]]] = defaultdict(set)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    """Every structure's teacher, with and without state."""
    found, render, items = Given(), PromptTemplate.render, Gateway.items

    def noted(self: PromptTemplate, **variables: Any) -> Any:
        found.variables[self.name.rpartition("/")[2]].append(variables)
        return render(self, **variables)

    async def noted_items(self: Gateway, prompt: Any, item: Any, **more: Any) -> Any:
        found.asked[prompt.name.rpartition("/")[2]].add((more["node"], prompt.tool, item))
        return await items(self, prompt, item, **more)

    async def teach(structure: str, state: bool) -> None:
        choice = [f"structure={structure}", f"state={str(state).lower()}", "teacher.policy=llm", "skills=llm"]
        choice.append("teacher.reader=model")
        config = offline(load_config(None, [*SMALL, *choice]))
        start: Any = await rehearsed_input(config, tmp_path_factory.mktemp("teach"))
        await build_teacher(config.structure).compile().ainvoke(start, context=config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PromptTemplate, "render", noted)
        patch.setattr(Gateway, "items", noted_items)
        for structure in STRUCTURES:
            for state in (True, False):
                asyncio.run(teach(structure, state))
    return found


SMALL = (
    *("task.val_size=1", "task.test_size=1", "student.generation.max_new_tokens=4"),
    *("budget.rows_per_iteration=24", "teacher.checks.names=[format,answer,solve]"),
)


def same_keys(given: Any, sample: Any) -> bool:
    """Whether mappings have the same keys, at every depth; what a list holds is compared where both hold some."""
    if isinstance(given, dict) and isinstance(sample, dict):
        return given.keys() == sample.keys() and all(same_keys(given[k], sample[k]) for k in given)
    if isinstance(given, list) and isinstance(sample, list):
        return all(same_keys(g, s) for g in given for s in sample)
    return not isinstance(given, dict | list) and not isinstance(sample, dict | list)


@pytest.mark.parametrize("name", NAMES)
def test_the_samples_have_the_very_keys_that_the_nodes_give(name: str, given: Given) -> None:
    assert given.variables[name]
    for variables in given.variables[name]:
        for sample in (SAMPLES[name].full, SAMPLES[name].bare):
            assert same_keys(variables, sample), (variables, sample)


@pytest.mark.parametrize("name", ["arithmetic", "functions", "tool_calls"])
def test_the_samples_show_of_an_item_what_its_domain_shows(name: str) -> None:
    config = load_config(None, [f"task.name={name}", "task.val_size=1", "task.test_size=1"])
    task = load_task(config.task)
    spec, item = DOMAINS[task.domain.name], task.train[0]
    assert same_keys(task.domain.show(item), dict(spec.shown))
    assert same_keys(task.domain.show_unsolved(item), dict(spec.shown_unsolved))


def test_the_nodes_ask_for_no_prompt_without_a_sample(given: Given) -> None:
    assert set(given.variables) == set(SAMPLES)


@pytest.mark.parametrize("name", NAMES)
def test_the_samples_name_the_node_the_tool_and_the_answer(name: str, given: Given) -> None:
    sample = SAMPLES[name]
    assert given.asked[name] == {(sample.node, sample.tool, item_model(sample.tool, "math"))}


def test_the_list_has_every_prompt(cli: Cli) -> None:
    status, out, _ = cli("prompts", "list")
    assert status == 0
    for name in list_prompts("math"):
        assert name in out and load_prompt("math", name).head.tool in out


def test_the_list_says_which_prompts_are_the_users(cli: Cli, mine: Path) -> None:
    _, out, _ = cli("prompts", "list", "--prompts", mine)
    assert out.count(".jinja") == 1 and "faulty" not in out
    (mine / "math" / "solve.jinja").write_text("no front matter")
    assert "faulty" in cli("prompts", "list", "--prompts", mine)[1]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tables that do not wrap, and short paths in them."""
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mine(cli: Cli) -> Path:
    """A folder of the user's with one prompt in it, as it was copied."""
    assert cli("prompts", "copy", "math/solve", "mine")[0] == 0
    return Path("mine")


def edit(folder: Path, old: str, new: str, name: str = "solve") -> None:
    file = folder / "math" / f"{name}.jinja"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_prompt_is_shown_as_its_file_with_the_fields_of_the_answer(cli: Cli) -> None:
    status, out, _ = cli("prompts", "show", "math/plan_skill_tree")
    assert status == 0
    assert out.startswith("---\npurpose: ") and "{{ max_subskills }}" in out
    model = item_model("submit_actions", "math")
    assert model is not None
    for field in item_fields(model):
        assert field.name in out and field.description in out


def test_a_prompt_is_shown_as_a_model_gets_it(cli: Cli) -> None:
    status, out, _ = cli("prompts", "show", "math/solve", "--rendered")
    prompt = load_prompt("math", "solve").render(**SAMPLES["solve"].full)
    assert status == 0
    assert prompt.system in out and prompt.text in out and prompt.hash in out
    assert "{{ 7*7 }}" in out


def test_the_users_prompt_is_shown_in_place_of_the_packaged_one(cli: Cli, mine: Path) -> None:
    edit(mine, "Attempt:", "Try number:")
    for more in ([], ["--rendered"]):
        assert "Try number:" in cli("prompts", "show", "math/solve", "--prompts", mine, *more)[1]
        assert "Try number:" not in cli("prompts", "show", "math/solve", *more)[1]


def test_a_faulty_prompt_is_shown_with_its_fault(cli: Cli, mine: Path) -> None:
    edit(mine, "{{ sample }}", "{{ smple }}")
    status, out, err = cli("prompts", "show", "math/solve", "--prompts", mine)
    assert status == 1 and "{{ smple }}" in out and "Did you mean 'sample'?" in err


@pytest.mark.parametrize(
    ("name", "nearest"), [("math/solv", "math/solve"), ("maths/solve", "math/solve"), ("solve", "text/solve")]
)
def test_an_unknown_prompt_is_told_with_the_nearest(name: str, nearest: str, cli: Cli) -> None:
    status, _, err = cli("prompts", "show", name)
    assert status == 1 and f"Did you mean '{nearest}'?" in err
    status, _, err = cli("prompts", "copy", name, "mine")
    assert status == 1 and f"Did you mean '{nearest}'?" in err
    assert not Path("mine").exists()


def test_all_prompts_are_copied_as_they_are_and_pass_the_check(cli: Cli) -> None:
    status, out, _ = cli("prompts", "copy", "all of mine")
    assert status == 0 and "dataenvgym run ... --prompts 'all of mine'" in out
    folder = Path("all of mine")
    for name in list_prompts("math"):
        copied, packaged = load_prompt("math", name, folder), load_prompt("math", name)
        assert copied.source == str(folder / "math" / f"{name}.jinja")
        assert (copied.head, copied.body) == (packaged.head, packaged.body)
    status, out, _ = cli("prompts", "check", "--prompts", folder)
    assert status == 0 and "fault: 0, unknown: 0, note: 0" in out


def test_a_copy_of_a_shared_prompt_changes_it_in_every_domain(cli: Cli) -> None:
    assert cli("prompts", "copy", "shared/solve", "mine")[0] == 0
    file = Path("mine/shared/solve.jinja")
    file.write_text(file.read_text().replace("Attempt:", "Try number:"))
    for domain in list_domains():
        assert "Try number:" in cli("prompts", "show", f"{domain}/solve", "--prompts", "mine")[1]
    assert "fault: 0, unknown: 0, note: 0" in cli("prompts", "check", "--prompts", "mine")[1]
    file.write_text(file.read_text().replace("{{ sample }}", "{{ smple }}"))
    status, lines = found(cli, Path("mine"))
    assert status == 1 and len(lines) == len(list_domains())
    assert all("mine/shared/solve.jinja   fault   line 14 uses the variable 'smple'" in line for line in lines)


@pytest.mark.parametrize("domain", list_domains())
@pytest.mark.parametrize("name", NAMES)
def test_a_reply_is_found_again_until_the_text_of_a_copied_prompt_changes(
    domain: str, name: str, cli: Cli
) -> None:
    sample = samples(domain)[name]
    model = item_model(sample.tool, domain)
    assert model is not None
    gateway, tool = (
        Gateway(TeacherModelConfig(), seed=0, cache=None, ledger=None),
        tool_schema(sample.tool, model),
    )

    def key(folder: Path | None) -> str:
        return gateway._key(load_prompt(domain, name, folder).render(**sample.full), tool, 0)

    packaged = key(None)
    assert cli("prompts", "copy", f"{domain}/{name}", "mine")[0] == 0
    file = Path("mine") / domain / f"{name}.jinja"
    assert key(Path("mine")) == packaged
    copied = file.read_text()
    file.write_text(copied.replace("purpose: ", "purpose: Mine. ").replace("version: ", "version: 1"))
    assert key(Path("mine")) == packaged
    file.write_text(f"{copied}One line more.\n")
    assert key(Path("mine")) != packaged


def test_a_copy_overwrites_nothing_and_then_copies_nothing(cli: Cli, mine: Path) -> None:
    edit(mine, "Attempt:", "Try number:")
    for names in ([], ["math/label_skills", "math/solve"]):
        status, _, err = cli("prompts", "copy", *names, mine)
        assert status == 1 and "mine/math/solve.jinja already exists" in err
    assert [path.name for path in mine.rglob("*.jinja")] == ["solve.jinja"]
    assert "Try number:" in (mine / "math" / "solve.jinja").read_text()


def test_a_forgotten_folder_is_asked_for(cli: Cli) -> None:
    status, _, err = cli("prompts", "copy", "math/solve")
    assert status == 1 and "the folder last" in err and not Path("math").exists()


def test_a_folder_that_cannot_be_written(cli: Cli) -> None:
    Path("taken").write_text("")
    status, _, err = cli("prompts", "copy", "math/solve", "taken")
    assert status == 1 and "cannot be written" in err


def test_the_packaged_prompts_pass_the_check(cli: Cli) -> None:
    status, out, _ = cli("prompts", "check")
    prompts = sum(len(list_prompts(domain)) for domain in list_domains())
    assert status == 0 and f"{prompts} prompts checked; fault: 0" in out


def test_a_folder_that_is_not_there(cli: Cli) -> None:
    for action in (["list"], ["check"], ["show", "math/solve"]):
        status, _, err = cli("prompts", *action, "--prompts", "nowhere")
        assert status == 1 and "nowhere does not exist" in err


def found(cli: Cli, folder: Path) -> tuple[int, list[str]]:
    """(exit status, the lines of the check's table)."""
    status, out, _ = cli("prompts", "check", "--prompts", folder)
    return status, [
        line for line in out.splitlines() if " fault " in line or " unknown " in line or " note " in line
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("{% endfor -%}", "", " line 25: Unexpected end of template"),
        (
            "{{ sample }}",
            "{{ smple }}",
            "'smple', which its front matter does not declare. Did you mean 'sample'?",
        ),
        ("{{ item.id }}", "{{ item.idd }}", "idd"),
        ("{{ sample }}", "{{ sample | shout }}", "shout"),
        ("purpose:", "purpos:", "purpose"),
        ("version: 1", "version: [", "not YAML"),
        ("submit_solutions\n", "submit_solution\n", "unknown tool 'submit_solution'; verify_data is answered"),
        ("submit_solutions\n", "submit_rows\n", "tool 'submit_rows' belongs to another prompt"),
        ("  sample: ", "  smple: one more\n  sample: ", None),
    ],
)
def test_a_fault_is_told_and_makes_the_status_1(
    old: str, new: str, said: str | None, cli: Cli, mine: Path
) -> None:
    edit(mine, old, new)
    status, lines = found(cli, mine)
    if said is None:
        assert status == 0
        assert "note" in lines[0] and "declared, but neither given nor used: smple" in lines[0]
        return
    assert status == 1 and len(lines) == 1
    assert lines[0].split()[:2] == ["mine/math/solve.jinja", "fault"] and said in lines[0]


def test_a_variable_that_no_node_gives_is_told_with_the_nearest(cli: Cli, mine: Path) -> None:
    edit(mine, "  sample: ", "  smple: one more\n  sample: ")
    edit(mine, "{{ sample }}", "{{ sample }}{% if smple is defined %}{{ smple }}{% endif %}")
    status, lines = found(cli, mine)
    assert status == 0 and len(lines) == 1
    assert " unknown " in lines[0] and "verify_data gives no 'smple'. Did you mean 'sample'?" in lines[0]
    edit(mine, "{% if smple is defined %}{{ smple }}{% endif %}", "{{ smple }}")
    status, lines = found(cli, mine)
    assert status == 1 and len(lines) == 1
    assert " fault " in lines[0] and "Did you mean 'sample'?" in lines[0]


def test_a_branch_that_only_shows_with_little_data_is_rendered_too(cli: Cli) -> None:
    cli("prompts", "copy", "math/plan_open_ended", "mine")
    edit(Path("mine"), "No problem is shown.", "No problem is shown.", "plan_open_ended")
    edit(Path("mine"), "{% if n -%}", "{% if not n %}{{ errors.first }}{% endif %}{% if n -%}", "plan_open_ended")
    status, lines = found(cli, Path("mine"))
    assert status == 1 and "first" in lines[0]


def test_what_is_given_and_not_used_is_a_note(cli: Cli, mine: Path) -> None:
    edit(mine, "Attempt: {{ sample }}", "")
    status, lines = found(cli, mine)
    assert status == 0 and len(lines) == 1
    assert " note " in lines[0] and "given and not used: sample" in lines[0]


def test_data_that_could_end_itself_is_a_note(cli: Cli, mine: Path) -> None:
    edit(mine, "{{ text(item.question) }}", "{{ item.question }}")
    status, lines = found(cli, mine)
    assert status == 0 and len(lines) == 1
    assert " note " in lines[0] and "</data>" in lines[0]
    assert HOSTILE in cli("prompts", "show", "math/solve", "--rendered", "--prompts", mine)[1]


def test_files_that_no_node_asks_for_are_told_with_the_nearest_name(cli: Cli, mine: Path) -> None:
    text = (mine / "math" / "solve.jinja").read_text()
    for name in ("math/solv.jinja", "math/solve.jinja.txt", "solve.jinja", "maths/solve.jinja"):
        (mine / name).parent.mkdir(exist_ok=True)
        (mine / name).write_text(text)
    status, lines = found(cli, mine)
    assert status == 0
    said = {line.split()[0]: line for line in lines if " unknown " in line}
    assert set(said) == {
        *("mine/math/solv.jinja", "mine/math/solve.jinja.txt", "mine/solve.jinja", "mine/maths"),
    }
    assert "Did you mean 'solve'?" in said["mine/math/solv.jinja"]
    assert "the name must be solve.jinja" in said["mine/math/solve.jinja.txt"]
    assert "mine/math/solve.jinja" in said["mine/solve.jinja"]
    assert "Did you mean 'math'?" in said["mine/maths"]
    # What a domain does not say differently comes from the shared prompts, so none is missing.
    assert not any("has no generate_rows" in line for line in lines)


def test_a_prompt_of_a_node_of_ones_own_has_no_samples(cli: Cli, mine: Path) -> None:
    (mine / "math" / "critic.jinja").write_text((mine / "math" / "solve.jinja").read_text())
    status, _, err = cli("prompts", "show", "math/critic", "--rendered", "--prompts", mine)
    assert status == 1 and "'critic'" in err
    assert cli("prompts", "show", "math/critic", "--prompts", mine)[0] == 0


def test_the_users_prompt_reaches_the_model_and_its_hash_the_rows(mine: Path, tmp_path: Path) -> None:
    """A copied and edited prompt is what is sent, and its hash is in the ledger."""
    edit(mine, "Attempt:", "Try number:")
    config = load_config(None, [*SMALL, "structure=skill_list", f"teacher.prompts={mine}"])
    said: list[Any] = []
    items = Gateway.items

    async def noted(self: Gateway, prompt: Any, item: Any, **more: Any) -> Any:
        said.append(prompt)
        return await items(self, prompt, item, **more)

    async def teach() -> None:
        start: Any = await rehearsed_input(offline(config), tmp_path / "run")
        await build_teacher("skill_list").compile().ainvoke(start, context=offline(config))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Gateway, "items", noted)
        asyncio.run(teach())
    solved = [prompt for prompt in said if prompt.name == "math/solve"]
    assert solved and all("Try number:" in prompt.text for prompt in solved)
    ledger = (tmp_path / "run" / "ledger.jsonl").read_text()
    assert all(prompt.hash in ledger for prompt in solved)
    rows = "".join(path.read_text() for path in (tmp_path / "run").rglob("accepted-*.jsonl"))
    written = [prompt for prompt in said if prompt.name == "math/generate_rows"]
    assert any(f'"prompt_hash":"{prompt.hash}"' in rows for prompt in written)
