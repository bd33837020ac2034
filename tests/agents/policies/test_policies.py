"""Every policy keeps to its budget, whatever the student's accuracies and however small the budget."""

import asyncio
import itertools
from typing import Any

import pytest
from fake_gateway import Request, fake_client, scripted_client
from hypothesis import given, settings
from hypothesis import strategies as st

from dataenvgym.agents.config import TeacherConfig
from dataenvgym.agents.feedback_reader import ErrorExample, Feedback
from dataenvgym.agents.policies import DEFAULTS, POLICIES, find_policy
from dataenvgym.agents.policies.budget import split
from dataenvgym.agents.policies.weakest_first import MASTERED
from dataenvgym.envs.errors import TeacherError, UnknownNameError
from dataenvgym.envs.observation import Lesson, SkillState, SubskillState, subskills
from dataenvgym.envs.types import Plan, Provenance, Row

CONFIG = TeacherConfig(max_subskills=4, new_subskills=3)
ACCURACY = st.none() | st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.89, 0.9, 0.97, 1.0])


@st.composite
def leaves(draw: st.DrawFn, most: int = CONFIG.max_subskills) -> list[SubskillState]:
    found = []
    for number in range(draw(st.integers(0, most))):
        allocation = draw(st.integers(0, 12))
        rows = draw(st.integers(0, allocation))
        found.append(
            SubskillState(
                name=f"leaf {number}",
                allocation=allocation,
                rows=rows,
                accuracy=draw(ACCURACY) if rows else None,
            )
        )
    return found


@st.composite
def feedbacks(draw: st.DrawFn, tree: bool) -> Feedback:
    skills = [
        SkillState(
            name=f"skill {number}",
            accuracy=draw(ACCURACY),
            n=30,
            subskills=draw(leaves()) if tree else [],
        )
        for number in range(draw(st.integers(1, 7)))
    ]
    return feedback(skills, draw(st.integers(1, 60)), draw(st.integers(1, 6)))


def feedback(
    skills: list[SkillState], budget: int, iteration: int = 1, state: bool = True, **more: Any
) -> Feedback:
    given = {
        "accuracy": 0.5,
        "n": 60,
        "correct": 30,
        "errors": [
            ErrorExample(id=f"e/{s.name}", skill=s.name, question="1 + 1?", text="3", gold="2") for s in skills
        ],
        "history": [],
        "exemplars": [],
    }
    return Feedback(
        iteration=iteration, structure="any", state=state, budget=budget, skills=skills, **{**given, **more}
    )


def replies(asked: Request) -> list[Any]:
    """New subskills, as many as asked for."""
    count = int(asked.prompt.text.split("Number of subskills: ")[1].split()[0])
    return [{"name": f"new {i}"} for i in range(count)]


def make(structure: str, name: str | None, given_feedback: Feedback, state: bool = True, seed: int = 0) -> Plan:
    client, _ = fake_client(replies, CONFIG)
    return asyncio.run(find_policy(structure, name, state).plan(given_feedback, client, seed))


TREE = [(n, True) for n in ("weakest_first", "growth_then_fill", "ucb", "random")] + [(None, False)]


@given(st.integers(0, 500), st.lists(st.floats(0, 1e6, allow_subnormal=False), max_size=30))
def test_split_gives_out_all_and_follows_the_weights(total: int, weights: list[float]) -> None:
    parts = split(total, weights)
    assert len(parts) == len(weights) and all(p >= 0 for p in parts)
    assert sum(parts) == (total if weights else 0)
    if sum(weights) > 0:
        for part, weight in zip(parts, weights, strict=True):
            assert abs(part - total * weight / sum(weights)) < 1 + 1e-6


@settings(max_examples=40)
@given(feedbacks(tree=False))
def test_weakest_first_spends_exactly_the_budget_and_more_on_the_weaker(given_feedback: Feedback) -> None:
    plan = make("skill_list", "weakest_first", given_feedback)
    rows = {r.skill: r.count for r in plan.requests}
    assert len(rows) == len(plan.requests) == len({r.id for r in plan.requests})
    assert sum(rows.values()) == given_feedback.budget
    assert all(count > 0 for count in rows.values())
    weak = [s for s in given_feedback.skills if s.accuracy is None or s.accuracy < MASTERED]
    for a, b in itertools.permutations(weak, 2):
        if (0.5 if a.accuracy is None else a.accuracy) < (0.5 if b.accuracy is None else b.accuracy):
            assert rows.get(a.name, 0) >= rows.get(b.name, 0)


@settings(max_examples=40)
@given(feedbacks(tree=False))
def test_mastered_skills_keep_rehearsal_rows_where_the_budget_allows(given_feedback: Feedback) -> None:
    rows = {r.skill: r.count for r in make("skill_list", None, given_feedback).requests}
    mastered = [s.name for s in given_feedback.skills if s.accuracy is not None and s.accuracy >= MASTERED]
    if len(mastered) == len(given_feedback.skills):
        counts = [rows.get(name, 0) for name in mastered]
        assert max(counts) - min(counts) <= 1
    elif 2 * CONFIG.rehearsal_rows * len(mastered) <= given_feedback.budget:
        assert all(rows[name] == CONFIG.rehearsal_rows for name in mastered)
    else:
        assert not set(mastered) & set(rows)


@pytest.mark.parametrize(("name", "state"), TREE)
@settings(max_examples=40)
@given(given_feedback=feedbacks(tree=True))
def test_tree_plans(name: str | None, state: bool, given_feedback: Feedback) -> None:
    plan = make("skill_tree", name, given_feedback, state)
    states = {s.name: s for s in given_feedback.skills}
    assert sum(r.count for r in plan.requests) == given_feedback.budget
    assert len({r.id for r in plan.requests}) == len(plan.requests)
    assert len({(r.skill, r.subskill) for r in plan.requests}) == len(plan.requests)
    assert len({a.skill for a in plan.actions}) == len(plan.actions)  # explore or exploit, never both
    deltas = {a.skill: a.deltas for a in plan.actions}
    for action in plan.actions:
        known = {s.name for s in states[action.skill].subskills}
        if action.kind == "explore":
            assert not known & set(action.deltas)
            assert action.new_subskills == len(action.deltas) <= CONFIG.new_subskills
            assert len(known) + len(action.deltas) <= CONFIG.max_subskills
            assert all(delta > 0 for delta in action.deltas.values())
        else:
            assert set(action.deltas) <= known
    for request in plan.requests:
        leaf = next((s for s in states[request.skill].subskills if s.name == request.subskill), None)
        before, rows = (leaf.allocation, leaf.rows) if leaf else (0, 0)
        assert before + deltas[request.skill].get(request.subskill, 0) - rows == request.count > 0


@pytest.mark.parametrize(("name", "state"), TREE)
@pytest.mark.parametrize("budget", [1, 5, 10, 17, 100])
def test_the_forest_holds_what_plans_asked_for_when_all_of_it_is_delivered(
    name: str | None, state: bool, budget: int
) -> None:
    lessons: list[Lesson] = []
    asked: dict[tuple[str, str], int] = {}
    for iteration in range(1, 8):
        skills = [
            SkillState(name=n, accuracy=a, n=30, subskills=subskills(lessons, n))
            for n, a in [("a", 0.2), ("b", 0.6), ("c", 1.0)]
        ]
        plan = make("skill_tree", name, feedback(skills, budget, iteration), state)
        for r in plan.requests:
            asked[r.skill, r.subskill] = asked.get((r.skill, r.subskill), 0) + r.count
        rows = [row(f"{iteration}-{r.id}-{i}", r.skill, r.subskill) for r in plan.requests for i in range(r.count)]
        lessons.append(Lesson(plan=plan, rows=rows))
        forest = {(n, s.name): s for n in "abc" for s in subskills(lessons, n)}
        assert {key: s.allocation for key, s in forest.items()} == asked
        assert {key: s.rows for key, s in forest.items()} == asked


def row(name: str, skill: str, subskill: str) -> Row:
    made = Provenance(iteration=1, request="r0", model="m", prompt="p", prompt_hash="0")
    return Row(id=name, question="q", solution="s", answer="1", skill=skill, subskill=subskill, provenance=made)


def test_rows_not_delivered_are_asked_for_again_within_the_budget() -> None:
    leaf = SubskillState(name="leaf", allocation=10, rows=4)
    skills = [SkillState(name="a", accuracy=0.5, n=9, subskills=[leaf])]
    plan = make("skill_tree", "growth_then_fill", feedback(skills, 5, iteration=2))
    assert [(r.subskill, r.count) for r in plan.requests] == [("leaf", 5)]
    assert plan.actions[0].deltas == {"leaf": -1}  # 4 delivered + 5 asked = 9 = 10 - 1


@pytest.mark.parametrize(("name", "state"), [("growth_then_fill", True), ("random", True), (None, False)])
@settings(max_examples=25)
@given(given_feedback=feedbacks(tree=True), accuracy=ACCURACY)
def test_these_policies_read_no_accuracy(
    name: str | None, state: bool, given_feedback: Feedback, accuracy: float | None
) -> None:
    other = given_feedback.model_copy(
        update={
            "accuracy": accuracy,
            "correct": 7,
            "n": 77,
            "skills": [
                s.model_copy(
                    update={
                        "accuracy": accuracy,
                        "reward": accuracy,
                        "n": 5,
                        "subskills": [leaf.model_copy(update={"accuracy": accuracy}) for leaf in s.subskills],
                    }
                )
                for s in given_feedback.skills
            ],
        }
    )
    assert make("skill_tree", name, given_feedback, state) == make("skill_tree", name, other, state)


@pytest.mark.parametrize(
    ("name", "state", "said"),
    [
        ("random", True, "chosen at random"),
        (None, False, "chosen at random"),
        ("growth_then_fill", True, "an even share for each"),
    ],
)
@pytest.mark.parametrize("iteration", [1, 2])
def test_their_reason_is_in_words_for_the_writer_of_rows(
    name: str | None, state: bool, said: str, iteration: int
) -> None:
    leaf = [SubskillState(name="s", allocation=2, rows=2)]
    skills = [SkillState(name=f"k{i}", subskills=leaf) for i in range(6)]
    plan = make("skill_tree", name, feedback(skills, 60, iteration, state), state)
    assert plan.requests and all(r.reason.startswith(said) for r in plan.requests)


@settings(max_examples=25)
@given(st.integers(1, 9), st.integers(1, 40))
def test_growth_stops_at_the_most_subskills(iteration: int, budget: int) -> None:
    full = [SubskillState(name=f"s{i}", allocation=1, rows=1) for i in range(CONFIG.max_subskills)]
    skills = [SkillState(name=n, subskills=full) for n in "ab"]
    plan = make("skill_tree", "growth_then_fill", feedback(skills, budget, iteration))
    assert {a.kind for a in plan.actions} == {"exploit"}


def test_the_coin_falls_both_ways_and_comes_from_the_seed() -> None:
    leaf = [SubskillState(name="s", allocation=2, rows=2)]
    given_feedback = feedback([SkillState(name=f"k{i}", subskills=leaf) for i in range(12)], 60, state=False)
    plan = make("skill_tree", None, given_feedback, state=False)
    assert {a.kind for a in plan.actions} == {"explore", "exploit"}
    assert plan == make("skill_tree", None, given_feedback, state=False)
    kinds = {tuple(a.kind for a in make("skill_tree", None, given_feedback, False, s).actions) for s in range(5)}
    assert len(kinds) > 1


def paid(name: str, rows: int, *rewards: float) -> SkillState:
    leaf = [SubskillState(name="s", allocation=rows, rows=rows)] if rows else []
    last = rewards[-1] if rewards else None
    return SkillState(name=name, accuracy=0.5, n=9, rows=rows, reward=last, rewards=list(rewards), subskills=leaf)


@pytest.mark.parametrize(
    ("skills", "chosen"),
    [
        ([paid("a", 0), paid("b", 0), paid("c", 0), paid("d", 0)], ["a", "b"]),  # nothing is known: in order
        ([paid("a", 10, 0.5), paid("b", 10, 0.4), paid("c", 0), paid("d", 0)], ["c", "d"]),  # untried first
        ([paid("a", 10, 0.5), paid("b", 10, -0.1), paid("c", 10, 0.2), paid("d", 10, 0.0)], ["a", "c"]),
        # much tried and paying a little less than one that is hardly known: the doubt decides
        ([paid("a", 90, 0.1, 0.1), paid("b", 10, 0.0), paid("c", 90, 0.0, 0.0), paid("d", 10, 0.01)], ["b", "d"]),
    ],
)
def test_ucb_gives_the_budget_to_the_half_with_the_highest_bounds(
    skills: list[SkillState], chosen: list[str]
) -> None:
    plan = make("skill_tree", "ucb", feedback(skills, 40, 3))
    assert sorted({a.skill for a in plan.actions}) == chosen
    counts = {name: sum(r.count for r in plan.requests if r.skill == name) for name in chosen}
    assert set(counts.values()) == {20}


def test_ucb_digs_where_rows_paid_and_looks_elsewhere_where_not() -> None:
    plan = make("skill_tree", "ucb", feedback([paid("a", 10, 0.3), paid("b", 10, -0.5)], 10, 2))
    assert [(a.skill, a.kind) for a in plan.actions] == [("a", "exploit")]
    plan = make("skill_tree", "ucb", feedback([paid("a", 10, -0.1), paid("b", 10, -0.5)], 10, 2))
    assert [(a.skill, a.kind) for a in plan.actions] == [("a", "explore")]


def test_random_plans_differ_by_seed_and_iteration() -> None:
    skills = [paid(name, 5) for name in "abcd"]
    plans = [make("skill_tree", "random", feedback(skills, 40, n), True, seed) for n in (1, 2) for seed in (0, 1)]
    assert len({str(p.requests) for p in plans}) == 4
    assert plans[0] == make("skill_tree", "random", feedback(skills, 40, 1), True, 0)


def test_a_weak_skill_with_mastered_subskills_explores() -> None:
    known = [SubskillState(name="s", allocation=5, rows=5, accuracy=1.0)]
    weak = SkillState(name="weak", accuracy=0.2, n=9, subskills=known)
    done = SkillState(name="done", accuracy=1.0, n=9, subskills=known)
    plan = make("skill_tree", "weakest_first", feedback([weak, done], 20))
    assert {a.skill: a.kind for a in plan.actions} == {"weak": "explore", "done": "exploit"}


def test_rows_go_to_the_skill_as_a_whole_when_the_model_names_no_subskill() -> None:
    client, _ = fake_client(lambda asked: [], CONFIG)
    plan = asyncio.run(find_policy("skill_tree", None, True).plan(feedback([SkillState(name="a")], 10), client, 0))
    assert [(r.skill, r.subskill, r.count) for r in plan.requests] == [("a", "a", 10)]


def test_repeated_and_known_subskill_names_are_taken_once() -> None:
    leaf = SubskillState(name="Carry", allocation=1, rows=1, accuracy=1.0)
    client, _ = fake_client(lambda asked: [{"name": "carry"}, {"name": "x"}, {"name": "X"}, {"name": "y"}], CONFIG)
    skills = [SkillState(name="a", accuracy=0.1, subskills=[leaf])]
    plan = asyncio.run(find_policy("skill_tree", None, True).plan(feedback(skills, 11), client, 0))
    assert {r.subskill: r.count for r in plan.requests} == {"x": 6, "y": 5}


@settings(max_examples=40)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(1, 40))
def test_llm_requests_are_scaled_down_to_the_budget(counts: list[int], budget: int) -> None:
    values = [{"skill": f"s{i}", "count": c, "exemplars": ["e/s0", "nowhere"]} for i, c in enumerate(counts)]
    client, _ = fake_client(lambda asked: values, CONFIG)
    policy = find_policy("open_ended", None, True)
    given_feedback = feedback(
        [], budget, errors=[ErrorExample(id="e/s0", skill="s0", question="q", text="t", gold="g")]
    )
    if not any(counts):
        with pytest.raises(TeacherError, match="the plan asks for no rows"):
            asyncio.run(policy.plan(given_feedback, client, 0))
        return
    plan = asyncio.run(policy.plan(given_feedback, client, 0))
    assert sum(r.count for r in plan.requests) == min(budget, sum(counts))
    assert len({r.id for r in plan.requests}) == len(plan.requests)
    assert all(r.exemplars == ["e/s0"] for r in plan.requests)  # an id that was not shown is not taken over


def test_an_llm_planner_without_a_valid_request_is_an_error_that_says_why() -> None:
    client, _ = fake_client(lambda asked: [{"skill": "a"}], CONFIG)
    with pytest.raises(TeacherError, match="count"):
        asyncio.run(find_policy("open_ended", "llm", True).plan(feedback([], 5), client, 0))


def test_llm_tree_actions_are_held_to_the_rules() -> None:
    full = [SubskillState(name=f"s{i}", allocation=2, rows=2) for i in range(CONFIG.max_subskills)]
    skills = [SkillState(name="a"), SkillState(name="full", subskills=full)]
    values = [
        {"skill": "a", "kind": "explore", "new_subskills": 9, "rows_each": 50},
        {"skill": "full", "kind": "explore", "new_subskills": 1, "rows_each": 5},
        {"skill": "unknown", "kind": "explore", "new_subskills": 1, "rows_each": 5},
    ]

    def reply(asked: Request) -> list[Any]:
        return values if asked.prompt.tool == "submit_actions" else replies(asked)

    client, _ = fake_client(reply, CONFIG)
    plan = asyncio.run(find_policy("skill_tree", "llm", True).plan(feedback(skills, 10), client, 0))
    assert [a.skill for a in plan.actions] == ["a"]
    assert len(plan.requests) == CONFIG.max_subskills
    assert sum(r.count for r in plan.requests) == sum(plan.actions[0].deltas.values()) == 10

    values[:] = [
        {
            "skill": "full",
            "kind": "exploit",
            "subskills": [
                {"name": "s0", "delta": 3},
                {"name": "s1", "delta": -2},
                {"name": "not there", "delta": 9},
            ],
        }
    ]
    plan = asyncio.run(find_policy("skill_tree", "llm", True).plan(feedback(skills, 10), client, 0))
    assert [(r.subskill, r.count) for r in plan.requests] == [("s0", 3)]
    assert plan.actions[0].deltas == {"s0": 3, "s1": -2}

    values[:] = []
    with pytest.raises(TeacherError, match="no usable action"):
        asyncio.run(find_policy("skill_tree", "llm", True).plan(feedback(skills, 10), client, 0))


@pytest.mark.parametrize(
    ("structure", "name", "state"),
    [("open_ended", "llm", True), ("open_ended", None, False), ("skill_list", "llm", True)]
    + [("skill_tree", n, s) for n, s in [*TREE, ("llm", True)]],
)
def test_each_policy_plans_with_the_scripted_model(structure: str, name: str | None, state: bool) -> None:
    skills = [SkillState(name="addition", accuracy=0.3, n=9), SkillState(name="double", accuracy=0.6, n=9)]
    given_feedback = feedback([] if structure == "open_ended" else skills, 20, state=state)
    plan = asyncio.run(find_policy(structure, name, state).plan(given_feedback, scripted_client(CONFIG), 0))
    assert 18 <= sum(r.count for r in plan.requests) <= 20


def test_unknown_policies_name_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'weakest_first'"):
        find_policy("skill_tree", "weakest-first", True)
    with pytest.raises(UnknownNameError, match="growth_then_fill"):
        find_policy("skill_list", "growth_then_fill", True)


def test_every_structure_has_its_default_among_its_policies() -> None:
    for structure, name in DEFAULTS.items():
        assert find_policy(structure, None, True).name == name
        assert any(p.name == name and structure in p.structures for p in POLICIES.values())
    assert find_policy("skill_list", "weakest_first", False).name == "llm"
    assert find_policy("skill_tree", "weakest_first", False).name == "coin"
