"""The config: one file, overrides on top, and faults that name the key."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dataenvgym.envs.errors import ConfigError, DataEnvGymError, UnknownNameError
from dataenvgym.envs.tasks import TASKS
from dataenvgym.graphs.config import (
    STRUCTURES,
    EpisodeConfig,
    config_for,
    describe,
    dump_config,
    load_config,
    parse_config,
)


def test_no_file_gives_the_defaults() -> None:
    assert load_config(None) == EpisodeConfig()


def test_overrides_go_on_top_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("seed: 3\nbudget:\n  iterations: 7\n")
    config = load_config(path, ["budget.rows=300", "seed=4", "teacher.policy=null", "state=false"])
    assert (config.seed, config.budget.iterations, config.budget.rows, config.state) == (4, 7, 300, False)


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("# nothing yet\n")
    assert load_config(path) == EpisodeConfig()


@given(st.integers(), st.sampled_from(STRUCTURES), st.booleans(), st.none() | st.integers(1, 99))
def test_what_is_dumped_is_read_back(seed: int, structure: str, state: bool, rows: int | None) -> None:
    config = parse_config({"seed": seed, "structure": structure, "state": state, "budget": {"rows": rows}})
    text = dump_config(config)
    assert parse_config(yaml.safe_load(text)) == config
    assert set(yaml.safe_load(text)) == set(EpisodeConfig.model_fields), "every key is written out"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("bugdet.iterations=3", ["bugdet", "Did you mean 'budget'", "seed"]),
        ("budget.iteration=3", ["budget.iteration:", "Did you mean 'budget.iterations'", "patience"]),
        ("student.train.epoch=3", ["student.train.epoch:", "'student.train.epochs'"]),
        ("budget.iterations=0", ["budget.iterations", "greater than or equal to 1", "0"]),
        ("budget.target=1.5", ["budget.target", "less than or equal to 1", "1.5"]),
        ("budget.iterations=many", ["budget.iterations", "integer", "'many'"]),
        ("state=perhaps", ["state", "boolean", "'perhaps'"]),
        ("seed.x=1", ["seed", "integer"]),
        ("structure=skil_tree", ["structure", "'open_ended'", "Did you mean 'skill_tree'"]),
        ("student.train.backend=peft", ["student.train.backend", "'loop'", "'trl'"]),
        ("nonsense", ["nonsense", "key=value"]),
        ("=3", ["key=value"]),
        ("student.name=a: b: c", ["student.name", "not valid YAML"]),
    ],
)
def test_a_fault_names_the_key_and_what_is_allowed(setting: str, said: list[str]) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(None, [setting])
    assert [word for word in said if word not in str(raised.value)] == []


def test_a_value_where_keys_are_expected(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("budget: 5\n")
    with pytest.raises(ConfigError, match="budget"):
        load_config(path, ["budget.rows=3"])
    with pytest.raises(ConfigError, match="budget"):
        load_config(path)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(None, ["budget.iterations=0", "sede=1", "state=perhaps"])
    assert all(key in str(raised.value) for key in ("budget.iterations", "sede", "state"))


@pytest.mark.parametrize(
    ("setting", "kind", "nearest"),
    [
        ("task.name=aritmetic", "task", "arithmetic"),
        ("student.name=tinny", "student", "tiny"),
        ("teacher.policy=weakest", "policy", "weakest_first"),
        ("teacher.checks.names=[formt]", "check", "format"),
        ("teacher.llm.model=opena:gpt", "provider", "openai"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(setting: str, kind: str, nearest: str) -> None:
    with pytest.raises(UnknownNameError, match=f"unknown .*{kind}.*Did you mean '{nearest}'"):
        load_config(None, [setting])


def test_a_policy_of_another_structure_is_unknown() -> None:
    with pytest.raises(UnknownNameError, match="growth_then_fill"):
        load_config(None, ["structure=skill_list", "teacher.policy=growth_then_fill"])


def test_the_baseline_without_state_plans_by_coin_or_by_the_model() -> None:
    assert [load_config(None, [f"structure={s}", "state=false"]).policy_name() for s in STRUCTURES] == [
        "llm",
        "llm",
        "coin",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: [\n", "not valid YAML"),
        (b"- a\n", "list"),
        (b"1: 2\n", "1"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"a: \x07\n", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_config(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        load_config(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            load_config(path)


@given(st.text(max_size=40))
def test_any_override_is_taken_or_refused_plainly(setting: str) -> None:
    try:
        load_config(None, [setting])
    except DataEnvGymError as error:
        assert str(error)


def test_every_key_is_described() -> None:
    rows = describe()
    assert ("budget.iterations", "3", "Iterations of teach, train, evaluate.") in rows
    assert [key for key, _, text in rows if not text] == []
    for key, default, _ in rows:
        load_config(None, [f"{key}={default}"])


def test_the_context_of_a_structures_graph_has_it_as_default() -> None:
    for structure in STRUCTURES:
        assert config_for(structure)().structure == structure


def test_the_longest_answer_and_row_are_the_task_s_own_unless_the_config_says() -> None:
    plain = load_config(None, ["task.name=arithmetic"]).student_config()
    assert (plain.generation.max_new_tokens, plain.train.max_length) == (40, 512)
    spec = TASKS["gsm8k"]
    other = load_config(None, ["task.name=gsm8k"]).student_config()
    assert (other.generation.max_new_tokens, other.train.max_length) == (spec.answer_tokens, spec.row_tokens)
    lengths = ["student.generation.max_new_tokens=7", "student.train.max_length=9"]
    said = load_config(None, ["task.name=gsm8k", *lengths])
    assert (said.student_config().generation.max_new_tokens, said.student_config().train.max_length) == (7, 9)
