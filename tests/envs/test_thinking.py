"""What a text says outside its thinking."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataenvgym.envs.thinking import without_thinking

TEXTS = {
    "none": ("5", "5"),
    "before": ("<think>2 + 3</think>5", "5"),
    "twice": ("<think>a</think>5<think>b</think>6", "56"),
    "nested": ("<think>a<think>b</think>c</think>5", "5"),
    "opened in the prompt": ("2 + 3</think>5", "5"),
    "not closed": ("5<think>or 6", "5"),
    "Mistral": ("[THINK]2 + 3[/THINK]5", "5"),
    "harmony": ("<|channel|>analysis<|message|>2 + 3<|end|>5", "<|end|>5"),
}


@pytest.mark.parametrize("text, said", TEXTS.values(), ids=TEXTS)
def test_thinking_is_left_out(text: str, said: str) -> None:
    assert without_thinking(text) == said


@given(st.text(alphabet="ab<>"))
def test_a_text_without_marks_stays(text: str) -> None:
    assert without_thinking(text) == text
