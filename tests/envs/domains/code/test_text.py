"""Finding the code in a model's text, and writing code so that it is found again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataenvgym.envs.domains.code.text import extract_code, render_code, same_code, without_fence

CODE = "def f(x):\n    y = x + 1\n\n    return y"
EXAMPLE_WITHIN = 'def f():\n    """As in\n\n    ```\n    f()\n    ```\n    """\n    return 1'

# Lines that a fence could be taken for, among others.
LINES = [
    "```",
    "````",
    "~~~",
    "    ```",
    "  ```",
    "```python",
    "`",
    "x = 1",
    "",
    "    pass",
    "\t# é",
    "a\r",
    "\x0c",
]
codes = st.one_of(st.text(), st.lists(st.sampled_from(LINES), max_size=12).map("\n".join))


def indented(code: str, indent: str) -> str:
    return "\n".join(f"{indent}{line}" if line else line for line in code.split("\n"))


@pytest.mark.parametrize(
    "text",
    [
        CODE,
        f"\n\n{CODE}\n\n",
        f"```\n{CODE}\n```",
        f"```python\n{CODE}\n```",
        f"```{{.python .numberLines}}\n{CODE}\n```  ",
        f"~~~ py\n{CODE}\n~~~",
        f"~~~ a `b` c\n{CODE}\n~~~",
        f"````\n{CODE}\n````",
        f"```python\n{CODE}\n`````",
        f"```python\n\n{CODE}\n\n```",
        f"1. So:\n   ```python\n{indented(CODE, '   ')}\n   ```",
        f"- So:\n\t```python\n{indented(CODE, chr(9))}\n\t```",
    ],
)
def test_code_is_found_in_any_fence_or_none(text: str) -> None:
    assert extract_code(text) == CODE
    assert extract_code(text.replace("\n", "\r\n")) == CODE


@pytest.mark.parametrize(
    "before", ["Sure.", "Here it is:\n\nIt adds one\nand returns.\n", "Use `x`, not ```y```."]
)
def test_no_line_is_lost_where_prose_stands_before_the_fence(before: str) -> None:
    assert extract_code(f"{before}\n```python\n{CODE}\n```") == CODE
    assert extract_code(f"{before}\n```python\n{CODE}\n```\nI hope this\nhelps.") == CODE
    assert extract_code(f"{before}\n```python\n{CODE}") == CODE


@pytest.mark.parametrize(
    "opening",
    [
        "Here is the code: ```python",
        "Here is the code:```",
        "### Answer: ```py",
        "**Solution**```python",
        "1. ```python",
        "- ```python",
        "- ~~~",
        "\ufeff```python",
        "\u200b```python",
        "\u00a0```python",
    ],
)
def test_a_fence_may_open_after_words(opening: str) -> None:
    assert extract_code(f"{opening}\n{CODE}\n```".replace("```", "~~~" if "~" in opening else "```")) == CODE
    if "~" not in opening:
        assert extract_code(f"{opening}\n{CODE}\n```\nIt adds one.") == CODE
        assert extract_code(f"{opening}\n{CODE}") == CODE


@pytest.mark.parametrize("words", ["Use ```x``` here.", "It is ```x```", "as return x```", "a fence ``` ends it"])
def test_code_within_a_line_opens_nothing(words: str) -> None:
    assert extract_code(f"```python\n{CODE}\n```\n{words}\nand so on") == CODE


@pytest.mark.parametrize("quote", ["> ", ">", ">> ", " > "])
def test_a_quoted_block_is_read_without_its_marks(quote: str) -> None:
    lines = [f"{quote}{line}" if line else quote.rstrip() for line in ["```python", *CODE.split("\n"), "```"]]
    assert extract_code("\n".join(["So:", *lines, "Done."])) == CODE


@pytest.mark.parametrize(
    "end",
    [
        "\n``` This function adds one.",
        "\n```<|im_end|>",
        "```",
        "```\nIt adds one.",
        "\n        ```",
        "\n``` adds one, then\nit returns ```y```.",
    ],
)
def test_an_end_that_is_none_by_the_rules_ends_a_block_that_has_no_other(end: str) -> None:
    assert extract_code(f"So:\n```python\n{CODE}{end}") == CODE
    assert extract_code(f"```python\nwrong = 1\n```\nBetter:\n```python\n{CODE}{end}") == CODE


def test_a_docstrings_fence_does_not_end_code_that_was_cut() -> None:
    assert extract_code(f"```python\n{EXAMPLE_WITHIN}") == EXAMPLE_WITHIN


def test_the_last_complete_block_counts() -> None:
    first = "```python\nwrong = 1\n```\n"
    assert extract_code(f"{first}Better:\n```python\n{CODE}\n```") == CODE
    assert extract_code(f"```python\n{CODE}\n```\nAnd another way:\n```python\ndef f(") == CODE
    assert extract_code(f"```python\n{CODE}\n```\n```\n\n```") == CODE


def test_code_that_was_cut_is_what_there_is_of_it() -> None:
    assert extract_code("So:\n```python\nx = 1\ny = ") == "x = 1\ny = "
    assert extract_code("```\n\n```\n```python\nx = 1") == "x = 1"


def test_only_a_fence_of_the_same_kind_and_length_ends_a_block() -> None:
    assert extract_code("````\n```\nx\n```\n````") == "```\nx\n```"
    assert extract_code("~~~\n```\n~~~") == "```"
    assert extract_code("```\nx\n``` not an end\ny\n```") == "x\n``` not an end\ny"


def test_a_fence_further_in_belongs_to_the_code() -> None:
    assert extract_code(f"```python\n{EXAMPLE_WITHIN}\n```") == EXAMPLE_WITHIN
    assert extract_code(f"1. So:\n   ```python\n{indented(EXAMPLE_WITHIN, '   ')}\n   ```") == EXAMPLE_WITHIN


@pytest.mark.parametrize("text", ["", "  \n\t\n", "```\n```", "```python\n\n```", "```", "Nothing.\n```python\n"])
def test_where_there_is_no_code_there_is_no_answer(text: str) -> None:
    assert extract_code(text) is None


@given(codes, st.sampled_from(["", "Words.", "Some words,\n\nand more, with `code`."]))
def test_code_that_was_written_is_found_again(code: str, words: str) -> None:
    expected = same_code(code)
    assert extract_code(render_code(words, code)) == (expected if expected.strip() else None)


@given(st.text(), codes)
def test_no_text_breaks_it(words: str, code: str) -> None:
    for text in (words, code, render_code(words, code)):
        found = extract_code(text)
        assert found is None or found.strip()


# A search that is not linear would not end with so much.
@pytest.mark.parametrize(
    "unit",
    [
        "`",
        "~",
        " ",
        "\t",
        "\n",
        "\r",
        "```\n",
        "`\n",
        "``` `",
        "~~~\n```\n",
        "    ```\n",
        "x``` ",
        "> ",
        "a:```\n",
    ],
)
def test_much_hostile_text_is_read(unit: str) -> None:
    text = unit * (2_000_000 // len(unit))
    extract_code(text)
    extract_code(f"```python\n{text}\n```")
    render_code("", text)


def test_the_words_stand_before_the_code() -> None:
    assert render_code("", "x = 1\n") == "```python\nx = 1\n```"
    assert render_code(" Add one.\n", "x = 1") == "Add one.\n```python\nx = 1\n```"
    assert render_code("", "a\n```\nb") == "````python\na\n```\nb\n````"


def test_a_fence_is_taken_off_and_nothing_else() -> None:
    assert without_fence(f"```python\n{CODE}\n```") == CODE
    assert without_fence(f"Here it is:\n```python\n{CODE}\n```") == CODE
    assert without_fence(EXAMPLE_WITHIN) == EXAMPLE_WITHIN
    assert without_fence("```") == "```"
