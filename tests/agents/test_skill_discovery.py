"""Skill discovery: every val instance gets exactly one skill, whatever the model leaves out."""

import asyncio
from collections.abc import Callable
from typing import Any

from fake_gateway import Request, fake_client, scripted_client

from dataenvgym.agents.skill_discovery import BATCH, discover_skills, gold_skills
from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.math.tasks.arithmetic import load
from dataenvgym.envs.types import Instance

INSTANCES = [Instance(id=f"val/{n}", question=f"Question {n}?", answer="1") for n in range(2 * BATCH + 5)]


def shown(asked: Request) -> list[str]:
    return [f"val/{line.split(']')[0]}" for line in asked.prompt.text.split("[val/")[1:]]


def answers(
    label: Callable[[str], str | None], categories: Callable[[], list[Any]]
) -> Callable[[Request], list[Any]]:
    def reply(asked: Request) -> list[Any]:
        if asked.prompt.tool == "submit_categories":
            return categories()
        return [{"id": i, "skill": s} for i in shown(asked) if (s := label(i))]

    return reply


def discover(reply: Callable[[Request], list[Any]], most: int = 5) -> tuple[dict[str, str], list[Request]]:
    client, gateway = fake_client(reply)
    return asyncio.run(discover_skills(INSTANCES, client, most)), gateway.asked


def odd(name: str) -> str:
    return "odd" if int(name.split("/")[1]) % 2 else "even"


def test_gold_skills_are_the_data_sets_own() -> None:
    labelled = INSTANCES[0].model_copy(update={"skill": "sums"})
    assert gold_skills([labelled, INSTANCES[1]]) == {"val/0": "sums", "val/1": "other"}


def test_every_instance_is_labelled_in_batches_and_gets_its_category() -> None:
    merged = [{"name": "Odd ones", "members": ["odd"]}, {"name": "Even ones", "members": ["even", "odd"]}]
    skills, asked = discover(answers(odd, lambda: merged))
    assert [len(shown(a)) for a in asked[:-1]] == [BATCH, BATCH, 5]
    assert list(skills) == [i.id for i in INSTANCES]
    assert skills["val/3"] == "Odd ones" and skills["val/4"] == "Even ones"  # a name stays in its first category


def test_what_the_model_leaves_out_is_asked_once_more_and_then_other() -> None:
    times: dict[str, int] = {}

    def label(name: str) -> str | None:
        times[name] = times.get(name, 0) + 1
        late = name == "val/7" and times[name] == 2
        return odd(name) if late or name not in ("val/7", "val/8") else None

    skills, asked = discover(answers(label, lambda: [{"name": "Odd", "members": ["odd"]}]))
    assert shown(asked[3]) == ["val/7", "val/8"] and "odd" in asked[3].prompt.text
    assert (skills["val/7"], skills["val/8"], skills["val/0"]) == ("Odd", "other", "other")


def test_what_no_category_takes_is_asked_again_with_the_categories_to_choose_from() -> None:
    times: dict[str, int] = {}

    def label(name: str) -> str:
        times[name] = times.get(name, 0) + 1
        choice = {"val/0": "Even", "val/2": "no category"}  # Even: a category; the other is none
        return choice.get(name, "even") if times[name] == 2 else "stray" if name in choice else "even"

    skills, asked = discover(answers(label, lambda: [{"name": "Even", "members": ["even"]}]))
    assert shown(asked[-1]) == ["val/0", "val/2"] and "Even" in asked[-1].prompt.text
    assert (skills["val/0"], skills["val/2"], skills["val/4"]) == ("Even", "other", "Even")


def test_ids_that_were_not_asked_and_members_that_are_no_labels_are_passed_over() -> None:
    def reply(asked: Request) -> list[Any]:
        if asked.prompt.tool == "submit_categories":
            return [{"name": "All", "members": ["odd", "even", "never seen"]}]
        return [{"id": "test/9", "skill": "odd"}, *({"id": i, "skill": odd(i)} for i in shown(asked))]

    skills, _ = discover(reply)
    assert set(skills) == {i.id for i in INSTANCES} and set(skills.values()) == {"All"}


def test_no_more_categories_than_asked_for() -> None:
    many = [{"name": f"c{n}", "members": [f"s{n}"]} for n in range(9)]
    skills, _ = discover(answers(lambda i: f"s{int(i.split('/')[1]) % 9}", lambda: many), most=3)
    assert set(skills.values()) == {"c0", "c1", "c2", "other"}


def test_a_model_that_says_nothing_gives_one_skill() -> None:
    skills, _ = discover(answers(lambda i: None, list))
    assert set(skills.values()) == {"other"}


def test_the_scripted_model_finds_the_gold_skills_of_arithmetic() -> None:
    val = load(TaskConfig(name="arithmetic", val_size=3, test_size=1)).val
    found = asyncio.run(discover_skills(val, scripted_client(), 20))
    assert found == gold_skills(val)
