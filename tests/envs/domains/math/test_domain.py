"""Rows of the math domain as the teacher's model writes them."""

import pytest

from dataenvgym.envs.domains.math.domain import MathRow, render_answer


def test_render_answer_is_one_line() -> None:
    assert render_answer("Add.", "4") == "Add.\nAnswer: 4"
    assert render_answer("", "4") == "Answer: 4"
    assert render_answer("Add.\n", "\\begin{pmatrix} 1 \\\\\n 2 \\end{pmatrix}").splitlines()[1:] == [
        "Answer: \\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}"
    ]


def test_row_takes_a_json_number_as_its_text_and_drops_a_marked_line() -> None:
    row = MathRow.model_validate({"question": "2+2?", "solution": "Add.\n**Answer:** 4", "answer": 4})
    assert (row.answer, row.solution) == ("4", "Add.")
    assert MathRow.model_validate({"question": "q", "solution": "s", "answer": 0.5}).answer == "0.5"


@pytest.mark.parametrize(
    "change",
    [
        {"answer": " "},
        {"answer": True},
        {"answer": float("nan")},
        {"question": ""},
        {"solution": ""},
    ],
)
def test_row_refuses(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        MathRow.model_validate({"question": "q", "solution": "s", "answer": "a", **change})


def test_keys_that_nobody_asked_for_cost_no_row() -> None:
    row = MathRow.model_validate({"question": "q", "solution": "s", "answer": "a", "difficulty": "easy"})
    assert row.answer == "a"


def test_the_teacher_sees_a_description_of_every_field() -> None:
    schema = MathRow.model_json_schema()
    assert schema["properties"].keys() == {"question", "solution", "answer"}
    assert all(field["description"] and field["type"] == "string" for field in schema["properties"].values())
