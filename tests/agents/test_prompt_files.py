"""What domains share stands once: a domain's file holds what it says differently, and the whole stands alone."""

import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from dataenvgym.agents import prompt_files
from dataenvgym.agents.prompt_files import list_domains, list_prompts, prompt_text, whole_prompt
from dataenvgym.agents.prompts import load_prompt
from dataenvgym.commands.prompt_samples import NAMES, samples
from dataenvgym.envs.domains.base import DOMAINS
from dataenvgym.envs.errors import TeacherError, UnknownNameError

ROOT = Path(prompt_files.__file__).parents[1] / "prompts"
SHARED = """---
purpose: Test.
tool: submit_rows
variables: {skill: the skill}
system: You know {{ words.subject }}.
---
{% macros %}
Skill: {{ text(skill) }}
{% block rules %}
- the shared rule
{% endblock %}
{% block end %}
The end.
{% endblock %}
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    for name, text in {
        "shared/x.jinja": SHARED,
        "shared/words.yaml": "subject: much",
        "math/x.jinja": "---\nextends: shared/x\nversion: 3\n---\n{% block rules %}\n- mine\n{% endblock %}\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def text(domain: str, folder: Path) -> tuple[str, str]:
    prompt = load_prompt(domain, "x", folder).render(skill="s")
    return prompt.system, prompt.text


def test_a_domain_says_what_differs_and_shares_the_rest(mine: Path) -> None:
    assert text("math", mine) == ("You know much.", "Skill: s\n- mine\nThe end.")
    assert text("code", mine) == ("You know much.", "Skill: s\n- the shared rule\nThe end.")
    assert load_prompt("math", "x", mine).head.version == "3"
    assert load_prompt("code", "x", mine).head.version == "1"


def test_words_and_macros_are_the_nearest(mine: Path) -> None:
    (mine / "math" / "words.yaml").write_text("subject: numbers")
    (mine / "math" / "_macros.jinja").write_text("{% block shown %}\n{{ '!' ~ value }}\n{% endblock %}\n")
    (mine / "shared" / "x.jinja").write_text(SHARED.replace("{{ text(skill) }}", "{{ shown(skill) }}"))
    assert text("math", mine) == ("You know numbers.", "Skill: !s\n- mine\nThe end.")
    assert text("code", mine)[0] == "You know much."


def test_a_domain_of_another_package_brings_its_own_prompts(
    mine: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path_factory.mktemp("own")
    (own / "x.jinja").write_text("---\nextends: shared/x\n---\n{% block end %}\nOwn.\n{% endblock %}\n")
    monkeypatch.setitem(DOMAINS, "toy", replace(DOMAINS["math"], name="toy"))
    monkeypatch.setattr(prompt_files, "own_folder", lambda domain: own if domain == "toy" else None)
    assert text("toy", mine)[1] == "Skill: s\n- the shared rule\nOwn."
    assert set(list_prompts("toy")) == {"x", *NAMES}
    (mine / "toy").mkdir()
    (mine / "toy" / "x.jinja").write_text("---\nextends: shared/x\n---\n")
    assert text("toy", mine)[1].endswith("The end.")  # the user's folder comes first


@pytest.mark.parametrize("domain", list_domains())
@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_copy_stands_alone_and_says_the_same(domain: str, name: str, tmp_path: Path) -> None:
    whole = whole_prompt(domain, name)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / f"{name}.jinja").write_text(prompt_text(whole.head, whole.body))
    copied, packaged = load_prompt("other", name, tmp_path), load_prompt(domain, name)
    assert copied.head == packaged.head and "{{ words." not in copied.body and "% block" not in copied.body
    for variables in (samples(domain)[name].bare, samples(domain)[name].full):
        one, two = copied.render(**variables), packaged.render(**variables)
        assert (one.system, one.text) == (two.system, two.text)


PLACES = {
    "math/x.jinja, line 6": ("math/x.jinja", "- mine", "- {{ skill | shout }}"),
    "math/x.jinja, line 7": ("math/x.jinja", "- mine", "{% if skill %}\n- mine"),
    "math/x.jinja, line 5": ("math/x.jinja", "{% endblock %}\n", ""),
    "shared/x.jinja, line 8": ("shared/x.jinja", "text(skill)", "text(skill"),
    "shared/x.jinja, line 13": ("shared/x.jinja", "The end.", "The {{ end }}."),
    "shared/x.jinja, system message": ("shared/x.jinja", "You know", "You {% know"),
    "math/_macros.jinja, line 2": ("math/_macros.jinja", "", "{% block shown %}\n{{ value | }}\n{% endblock %}\n"),
}


@pytest.mark.parametrize("place", PLACES)
def test_an_error_names_the_file_and_the_line_in_it(place: str, mine: Path) -> None:
    name, old, new = PLACES[place]
    (mine / "shared" / "x.jinja").write_text(SHARED.replace("- the shared rule", "- {{ shown(skill) }}"))
    file = mine / name
    file.write_text(file.read_text().replace(old, new, 1) if old else new)
    if "_macros" in name:
        (mine / "math" / "x.jinja").unlink()
    with pytest.raises(TeacherError, match=re.escape(f"prompt file {mine / place}")):
        load_prompt("math", "x", mine)


def test_an_error_of_rendering_names_the_line_too(mine: Path) -> None:
    (mine / "math" / "x.jinja").write_text(
        "---\nextends: shared/x\n---\n{% block rules %}\n\n{{ skill + 1 }}\n{% endblock %}\n"
    )
    with pytest.raises(TeacherError, match=r"math/x\.jinja, line 6: TypeError"):
        text("math", mine)


def test_a_missing_line_break_at_the_end_and_spaces_behind_a_tag_do_not_matter(mine: Path) -> None:
    before = text("math", mine)
    file = mine / "math" / "x.jinja"
    file.write_text(file.read_text().replace(" %}\n", " %} \n").removesuffix("\n"))
    assert text("math", mine) == before


@pytest.mark.parametrize("words", ["just text", "- a\n- b", "a: [", "7"])
def test_words_that_are_no_keys_and_values_are_an_error(words: str, mine: Path) -> None:
    (mine / "math" / "words.yaml").write_text(words)
    with pytest.raises(TeacherError, match=r"math/words\.yaml must hold keys and values"):
        load_prompt("math", "x", mine)


def test_a_block_that_the_users_shared_file_lacks_is_named_with_that_file(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    file = tmp_path / "shared" / "solve.jinja"
    file.write_text("---\npurpose: Test.\ntool: submit_solutions\n---\nSolve.\n")
    assert load_prompt("math", "solve", tmp_path).body == "Solve.\n"
    with pytest.raises(TeacherError, match=re.escape(f"the shared file {file} has no block 'starter'")):
        load_prompt("code", "solve", tmp_path)


def test_macros_of_the_users_own_stand_beside_the_packaged_ones(mine: Path) -> None:
    packaged = (ROOT / "shared" / "_macros.jinja").read_text()
    loud = "{% macro loud(value) %}\n{{ text(value) | upper }}\n{% endmacro %}\n"
    (mine / "shared" / "_macros.jinja").write_text(loud + packaged)
    assert text("code", mine)[1].startswith("Skill: s\n")
    assert "macro loud" not in load_prompt("code", "x", mine).body
    (mine / "shared" / "x.jinja").write_text(SHARED.replace("text(skill)", "loud(skill)"))
    assert text("code", mine)[1].startswith("Skill: S\n")


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("extends: shared/y\n---\n", "it can only be 'shared/x'"),
        ("extends: shared/x\n---\nA line.\n", "'A line.' is outside of them"),
        ("extends: shared/x\n---\n{% block rule %}\n{% endblock %}\n", "Did you mean 'rules'? Its blocks: rules"),
        ("extends: shared/x\nsystem: '{{ words.subjekt }}'\n---\n", "has no 'subjekt'. Did you mean 'subject'?"),
        ("extends: shared/x\nsytem: y\n---\n", "Did you mean 'system'?"),
        ("- extends\n---\n", "must be keys and values"),
    ],
)
def test_what_does_not_fit_is_named(file: str, said: str, mine: Path) -> None:
    (mine / "math" / "x.jinja").write_text(f"---\n{file}")
    with pytest.raises(TeacherError) as error:
        load_prompt("math", "x", mine)
    assert said in str(error.value) and str(mine / "math" / "x.jinja") in str(error.value)


def test_shared_is_no_domain(mine: Path) -> None:
    assert "shared" not in list_domains(mine)
    with pytest.raises(UnknownNameError):
        load_prompt("shared", "x", mine)


def test_no_two_templates_share_six_lines() -> None:
    def runs(file: Path) -> set[tuple[str, ...]]:
        lines = [line.strip() for line in file.read_text().splitlines() if line.strip()]
        return {tuple(lines[at : at + 6]) for at in range(len(lines) - 5)}

    files = {file: runs(file) for file in sorted(ROOT.glob("*/*.jinja"))}
    assert len(files) > 8
    assert not [(one, two) for one, two in combinations(files, 2) if files[one] & files[two]]
