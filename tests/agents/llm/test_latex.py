"""LaTeX that JSON took for escapes gets its backslash back; real tabs and line breaks stay."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataenvgym.agents.llm.latex import restore, restore_all

RESTORED = [
    r"\frac{1}{2}",
    r"3 \times 4",
    r"x\times y",
    r"3 \neq 4",
    r"\rho and \beta",
    r"3 \ne 4",
    r"Let $x \to 0$",
    r"$\tan x$",
    r"$\nu$ and \(a \ni b\)",
    r"\nabla f = 0",
    r"\right)",
    r"\text{cm}",
    r"x \notin A, \not= b",
    r"\theta\tau\to 0",
    r"\begin{align}x\end{align}".replace(r"\e", r"\\e"),
    r"\boxed{5} \bar{x} \binom{n}{k} \forall x",
    r"\triangle ABC, \therefore \tfrac12 \rightarrow \rceil",
]


@pytest.mark.parametrize("written", RESTORED)
def test_a_command_is_restored(written: str) -> None:
    meant = written.replace(r"\\", "\\")
    read = json.loads('"' + written.replace(r"\(", r"\\(").replace(r"\)", r"\\)") + '"')
    found = restore(read)
    assert (found.text, found.doubt) == (meant, "") and found.repaired >= 1


@pytest.mark.parametrize(
    "text",
    [
        "line one.\nu = 3",
        "First $\\frac12$.\nThen tan",
        "so\nthen\nall",
        "Step 1\nStep 2\n\nnot so",
        "He said\nnot now",
        "a\r\nb",
        "Solve\nex = 3",
        "The numbers are:\n- one\nnext",
        "\tindented\n\ttwice",
        "name\tan\nx",
        "She has less.\nless is more",
    ],
)
def test_a_real_break_stays(text: str) -> None:
    assert restore(text).text == text


@pytest.mark.parametrize("text", ["some words\nu think", "a\tb\tan apple", "\theta is large and\nless so"])
def test_what_cannot_be_told_is_said(text: str) -> None:
    assert restore(text).doubt


@given(st.text())
def test_text_without_control_characters_is_left_alone(text: str) -> None:
    plain = "".join(char for char in text if char not in "\b\f\n\r\t")
    assert restore(plain) == (plain, 0, "")


@given(st.text(alphabet="ab$ \\\n\t\r\f\bneq", max_size=30))
def test_nothing_but_backslashes_and_letters_of_commands_is_put_in(text: str) -> None:
    found = restore(text)
    signs = str.maketrans({"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"})
    assert found.text.translate(signs) == text.translate(signs)


def test_code_is_left_as_it_is() -> None:
    row = {"question": "half is \frac12", "answer": "def f():\n\treturn 1\neq = 2", "tests": [{"input": "\neq"}]}
    value, repaired, doubt = restore_all(row, frozenset({"answer", "tests"}))
    assert value == {**row, "question": "half is \\frac12"} and (repaired, doubt) == (1, "")
