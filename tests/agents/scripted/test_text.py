"""What the scripted model writes for own data: the train problems that it is shown, varied."""

import re
from random import Random
from typing import Any

from scripted_asking import SAMPLES

from dataenvgym.agents.prompts import load_prompt
from dataenvgym.agents.scripted import replies
from dataenvgym.envs.domains.base import DOMAINS

CHOICE = "Which is big?\nA) ant\nB) whale"


def rows(exemplars: list[dict[str, Any]], errors: list[dict[str, Any]], count: int = 6) -> list[dict[str, Any]]:
    given = {**SAMPLES["generate_rows"], "exemplars": exemplars, "errors": errors, "count": count}
    prompt = load_prompt("text", "generate_rows").render(**given)
    curriculum = DOMAINS["text"].curriculum()
    assert curriculum is not None
    found = replies.items("submit_rows", prompt.text, Random(0), curriculum)
    assert found is not None
    return found


def shown(question: str, answer: str) -> dict[str, Any]:
    return {"id": "t", "question": question, "solution": "", "answer": answer}


def test_train_problems_are_varied_with_their_lines_and_answers() -> None:
    found = rows([shown(CHOICE, "B"), shown("Say hello.", '{"a":\n 1}')], [])
    assert [row["answer"] for row in found] == ["B", '{"a":\n1}'] * 3
    assert all(
        re.fullmatch(r"Number \d{4}\. Which is big\?\nA\) ant\nB\) whale", r["question"]) for r in found[::2]
    )
    assert len({row["question"] for row in found}) == len(found)


def test_errors_of_the_student_are_not_varied() -> None:
    wrong = {"id": "v", "skill": "s", "question": "Held out?", "text": "no", "gold": "yes", "detail": ""}
    found = rows([shown("Say hello.", "hello")], [wrong])
    assert len(found) == 6 and not any("Held out" in row["question"] for row in found)


def test_where_nothing_is_shown_questions_about_words_are_written() -> None:
    curriculum = DOMAINS["text"].curriculum()
    assert curriculum is not None
    found = rows([], [])
    assert len({row["question"] for row in found}) == 6
    assert all(curriculum.solve(row["question"]) == row["answer"] for row in found)
    for skill in curriculum.skills:
        question, finish = curriculum.draw(skill, 1, 2, None)
        assert curriculum.recognise(question) == skill and finish()["question"] == question
        answer = finish()["answer"]
        assert curriculum.solve(question) == answer != curriculum.wrong(question, answer, Random(0))
