import hashlib
from pathlib import Path

import pytest

from dataenvgym.agents.prompts import list_prompts, load_prompt
from dataenvgym.envs.errors import TeacherError, UnknownNameError

HEAD = """---
purpose: Write rows.
variables:
  skill: the skill
  rows: what to show
tool: submit_rows
version: 2
system: You teach {{ skill }}.
---
"""
BODY = """Skill: {{ skill }}
{% for row in rows %}
- {{ row.question }}
{% endfor %}
End
"""


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    (tmp_path / "math").mkdir()
    write(tmp_path, HEAD + BODY)
    return tmp_path


def write(overlay: Path, text: str, name: str = "mine") -> None:
    (overlay / "math" / f"{name}.jinja").write_text(text, encoding="utf-8")


def test_a_prompt_is_rendered(overlay: Path) -> None:
    prompt = load_prompt("math", "mine", overlay).render(skill="a < b & c", rows=[{"question": "1+1?"}], more=1)
    assert prompt.system == "You teach a < b & c."
    assert prompt.text == "Skill: a < b & c\n- 1+1?\nEnd"
    assert (prompt.name, prompt.tool) == ("math/mine", "submit_rows")
    assert prompt.hash == hashlib.sha256((prompt.system + prompt.text).encode()).hexdigest()[:16]


def test_text_of_a_variable_is_never_a_template(overlay: Path) -> None:
    prompt = load_prompt("math", "mine", overlay).render(skill="{{ 7 * 7 }}", rows=[])
    assert "{{ 7 * 7 }}" in prompt.text


def test_an_edit_takes_effect_at_the_next_use(overlay: Path) -> None:
    before = load_prompt("math", "mine", overlay).render(skill="s", rows=[])
    write(overlay, HEAD + BODY + "More")
    after = load_prompt("math", "mine", overlay).render(skill="s", rows=[])
    assert after.text.endswith("More") and after.hash != before.hash


def test_line_ends_and_a_byte_order_mark_do_not_matter(overlay: Path) -> None:
    plain = load_prompt("math", "mine", overlay).render(skill="ü", rows=[])
    data = b"\xef\xbb\xbf" + (HEAD + BODY).replace("\n", "\r\n").encode()
    (overlay / "math" / "mine.jinja").write_bytes(data)
    assert load_prompt("math", "mine", overlay).render(skill="ü", rows=[]) == plain


def test_the_overlay_wins_file_by_file(tmp_path: Path) -> None:
    packaged = list_prompts("math")
    if len(packaged) < 2:
        pytest.skip("the package has no two prompts to overlay")
    mine, theirs = packaged[:2]
    (tmp_path / "math").mkdir()
    write(tmp_path, HEAD + BODY, mine)
    assert load_prompt("math", mine, tmp_path).head.purpose == "Write rows."
    assert load_prompt("math", theirs, tmp_path).source == load_prompt("math", theirs).source
    assert list_prompts("math", tmp_path) == packaged


def test_every_packaged_prompt_loads() -> None:
    for name in list_prompts("math"):
        assert load_prompt("math", name).head.purpose


def test_an_overlay_may_bring_a_domain_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "poems").mkdir()
    (tmp_path / "poems" / "rows.jinja").write_text(HEAD + BODY)
    assert load_prompt("poems", "rows", tmp_path).name == "poems/rows"


def test_unknown_names_are_told_with_the_nearest(overlay: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"'mime'.*Did you mean 'mine'"):
        load_prompt("math", "mime", overlay)
    with pytest.raises(UnknownNameError, match=r"'maths'.*Did you mean 'math'"):
        load_prompt("maths", "mine", overlay)
    for name in ("../math/mine", "", "/etc/passwd"):
        with pytest.raises(UnknownNameError):
            load_prompt("math", name, overlay)
    with pytest.raises(UnknownNameError):
        load_prompt("..", "mine", overlay / "math")
    with pytest.raises(TeacherError, match="nowhere"):
        load_prompt("math", "mine", overlay / "nowhere")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("{{ skill }}\n", "{{ skil }}\n", r"'skil'.*Did you mean 'skill'"),
        ("teach {{ skill }}", "teach {{ skil }}", r"'skil'.*Did you mean 'skill'"),
        ("{% endfor %}", "", "line"),
        ("tool: submit_rows", "tol: submit_rows", "tool"),
        ("purpose: Write rows.\n", "", "purpose"),
        ("version: 2", "version: [", "YAML"),
        ("---\nSkill", "Skill", "front matter"),
        ("purpose: Write rows.\n", "- a\n", "mine.jinja"),
    ],
)
def test_a_faulty_file_is_named_with_its_fault(overlay: Path, old: str, new: str, says: str) -> None:
    text = HEAD + BODY
    assert old in text
    write(overlay, text.replace(old, new, 1))
    with pytest.raises(TeacherError, match=says) as caught:
        load_prompt("math", "mine", overlay)
    assert "mine.jinja" in str(caught.value)


def test_a_variable_that_is_not_given_is_named(overlay: Path) -> None:
    template = load_prompt("math", "mine", overlay)
    with pytest.raises(TeacherError, match=r"mine\.jinja.*'skill' is undefined.*Did you mean 'skills'") as caught:
        template.render(skills="s", rows=[])
    assert "Given: rows, skills" in str(caught.value)
    with pytest.raises(TeacherError, match="question"):
        template.render(skill="s", rows=[{"q": 1}])


@pytest.mark.parametrize(
    "body",
    [
        "{{ skill.__class__.__mro__ }}",
        "{{ rows.append(1) }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{% include '/etc/passwd' %}",
        "{{ skill + 1 }}",
    ],
)
def test_a_template_cannot_reach_out_and_its_errors_are_ours(overlay: Path, body: str) -> None:
    write(overlay, HEAD + body)
    with pytest.raises(TeacherError, match=r"mine\.jinja"):
        load_prompt("math", "mine", overlay).render(skill="s", rows=[])
