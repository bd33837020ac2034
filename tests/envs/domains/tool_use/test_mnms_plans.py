"""Plans of M&Ms: read from code, written as code, and scored, with the released number beside ours."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataenvgym.envs.domains.tool_use.calls import Call, read_calls
from dataenvgym.envs.domains.tool_use.mnms_plans import (
    is_right,
    macro_scores,
    partial_scores,
    plan_of,
    plans_of,
    read_plan,
    write_code,
)
from dataenvgym.envs.domains.tool_use.mnms_tools import CATALOGUE, TOOLS

GOLD = [
    Call("image_generation", {"text": "a dog"}),
    Call("object_detection", {"image": "$1.image"}),
    Call("tag", {"image": "$1.image", "objects": "$2.objects"}),
]
OTHER = [
    Call("image_generation", {"text": "a dog"}),
    Call("image_segmentation", {"image": "$1.image"}),
    Call("tag", {"image": "$1.image", "objects": "$2.objects"}),
]
CODE = write_code(GOLD)
DRAW, FIND, TAG = (line.strip() for line in CODE.split("\n")[1:4])


def fenced(*lines: str) -> str:
    return "\n".join(["```python", *lines, "```"])


# The text, right by ours, the released accuracy, F1 of tools, of argument names, of argument values.
CASES: dict[str, tuple[str, bool, bool, tuple[float, float, float]]] = {
    "the gold code": (fenced(CODE), True, True, (1, 1, 1)),
    "without the function": (fenced(DRAW, FIND, TAG), True, True, (1, 1, 1)),
    "without a fence": (CODE, True, True, (1, 1, 1)),
    "words around it": (f"Here you are:\n{fenced(CODE)}\nThis tags all objects.", True, True, (1, 1, 1)),
    "a fence that is not closed": (f"```python\n{CODE}", True, True, (1, 1, 1)),
    "two code blocks: the first counts": (f"{fenced(CODE)}\n{fenced(DRAW)}", True, True, (1, 1, 1)),
    "two code blocks, the first wrong": (f"{fenced(DRAW)}\n{fenced(CODE)}", False, False, (0.5, 0.5, 0.5)),
    "other variable names": (
        fenced("a = image_generation(text='a dog')", "b = object_detection(image=a['image'])")[:-3]
        + "tag(image=a['image'], objects=b['objects'])\n```",
        True,
        True,
        (1, 1, 1),
    ),
    "positional arguments": (fenced(DRAW.replace("text=", ""), FIND, TAG), True, True, (1, 1, 1)),
    "arguments in another order": (
        fenced(DRAW, FIND, "tag(objects=output1['objects'], image=output0['image'])"),
        True,
        True,
        (1, 1, 1),
    ),
    "JSON in place of code": (
        '[{"name": "image_generation", "arguments": {"text": "a dog"}}, {"name": "object_detection", "arguments": '
        '{"image": "$1.image"}}, {"name": "tag", "arguments": {"image": "$1.image", "objects": "$2.objects"}}]',
        True,
        True,
        (1, 1, 1),
    ),
    "nested calls": (
        fenced("tag(image=output0['image'], objects=object_detection(image=image_generation(text='a dog')))"),
        True,
        True,
        (1, 1, 1 / 3),
    ),
    "values with another case": (fenced(DRAW.replace("dog", "DOG"), FIND, TAG), True, True, (1, 1, 1)),
    "another value": (fenced(DRAW.replace("dog", "cat"), FIND, TAG), True, True, (1, 1, 2 / 3)),
    "an argument with another name": (
        fenced(DRAW.replace("text", "prompt"), FIND, TAG),
        True,
        True,
        (1, 2 / 3, 2 / 3),
    ),
    "a missing argument": (fenced(DRAW, FIND, "tag(image=output0['image'])"), True, True, (1, 2 / 3, 2 / 3)),
    "an argument too many": (fenced(DRAW, FIND, TAG.replace(")", ", size=1)")), True, True, (1, 2 / 3, 2 / 3)),
    "a reference to another step": (
        fenced(DRAW, FIND, TAG.replace("output0", "output1")),
        True,
        True,
        (1, 1, 2 / 3),
    ),
    "wrong order": (fenced(FIND, DRAW, TAG), False, False, (1, 1, 1 / 3)),
    "a step twice": (fenced(DRAW, DRAW, FIND, TAG), False, False, (1, 1, None)),  # type: ignore[dict-item]
    "a step missing": (fenced(DRAW, FIND), False, False, (0.8, 0.8, 0.8)),
    "a step too many": (fenced(DRAW, FIND, TAG, "count(objects=output1['objects'])"), False, False, (6 / 7,) * 3),
    "an invented tool": (fenced(DRAW, "find(image=output0['image'])", TAG), False, False, (2 / 3, 2 / 3, 1 / 3)),
    "an alternative plan": (fenced(write_code(OTHER)), True, False, (1, 1, 1)),
}


@pytest.mark.parametrize("text, right, released, f1", CASES.values(), ids=CASES)
def test_scores(text: str, right: bool, released: bool, f1: tuple[Any, ...]) -> None:
    answer = read_plan(text)
    calls = read_calls(answer or "") or []
    scores = partial_scores([GOLD, OTHER], calls)
    assert is_right([GOLD, OTHER], calls) == right
    assert scores["plan_tool_accuracy"] == released
    for name, expected in zip(("tool_f1", "argname_f1", "argvalue_f1"), f1, strict=True):
        if expected is not None:
            assert scores[name] == pytest.approx(expected), name


@pytest.mark.parametrize(
    "text", ["", "I cannot do that.", "[]", "```python\nx = 1\n```", "```python\ndef solve(:\n```"]
)
def test_a_text_without_a_plan_has_no_answer(text: str) -> None:
    assert read_plan(text) is None


def test_nothing_is_run(tmp_path: Any) -> None:
    kept = tmp_path / "kept"
    kept.touch()
    read_plan(fenced(f"__import__('os').remove({str(kept)!r})", DRAW))
    read_plan(fenced(f"open({str(kept)!r}, 'w').write(exit())"))
    assert kept.exists()


def test_macro_scores_are_those_of_the_release() -> None:
    # By hand: image_generation 2 of 2 wanted, 2 of 3 given; tag 1 of 1; object_detection 0 of 1; text_generation
    # 0 of 1; image_segmentation and count are given and never wanted.
    answers = [OTHER, [Call("count", {}), Call("image_generation", {}), Call("invented", {})], GOLD[:1]]
    golds = [GOLD, GOLD[:1], [Call("text_generation", {})]]
    found = macro_scores(golds, answers)
    occurring = 6
    assert found == {
        "tool_macro_precision": pytest.approx((2 / 3 + 1) / occurring),
        "tool_macro_recall": pytest.approx((1 + 1) / occurring),
        "tool_macro_f1": pytest.approx((0.8 + 1) / occurring),
    }
    assert macro_scores([], []) == dict.fromkeys(found, 0.0)


def test_the_data_sets_form() -> None:
    plan = (
        "[{'id': 0, 'name': 'image generation', 'args': {'text': \"a dog's bed\"}}, "
        "{'id': 3, 'name': 'image captioning', 'args': {'image': '<node-0>.image'}}, "
        "{'id': 4, 'name': 'text generation', 'args': {'text': 'a tale of <node-3>.text'}}]"
    )
    assert plan_of(plan) == [
        Call("image_generation", {"text": "a dog's bed"}),
        Call("image_captioning", {"image": "$1.image"}),
        Call("text_generation", {"text": "a tale of $2.text"}),
    ]
    assert plans_of(f"[{plan}, {plan}]") == [plan_of(plan)] * 2
    assert plans_of("[]") == []


NO_PLANS = (
    "",
    "[]",
    "nothing",
    "{'id': 0}",
    "[{'id': 0, 'name': '', 'args': {}}]",
    "[{'name': 'tag', 'args': {}}]",
    "[{'id': 0, 'name': 'tag', 'args': 'x'}]",
    "[1]",
    "[" * 500,
    "__import__('os').getcwd()",
)


@pytest.mark.parametrize("text", NO_PLANS)
def test_a_plan_that_is_none_is_an_error_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        plan_of(text)


def test_there_are_33_tools_and_each_is_a_schema() -> None:
    assert len(TOOLS) == 33 == len(CATALOGUE)
    assert all(
        set(tool.arguments) == set(CATALOGUE[name]["parameters"]["required"]) for name, tool in TOOLS.items()
    )


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12) | st.sampled_from(
    ['a "b" {c} \\n', "<think>", "```", "it costs $7.50", "$1.text and $2.image", "{output0['text']}"]
)
STEPS = st.lists(
    st.sampled_from(sorted(TOOLS)).flatmap(
        lambda name: st.fixed_dictionaries(dict.fromkeys(TOOLS[name].arguments, TEXT)).map(
            lambda args: Call(name, args)
        )
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=60)
@given(STEPS)
def test_code_that_is_written_is_read_back(calls: list[Call]) -> None:
    read = read_calls(write_code(calls))
    assert read == calls
    compile(write_code(calls), "plan", "exec")
