"""The pages of comparisons: what they show, that nothing is fetched, and that a model's text stays text."""

from collections.abc import Callable
from pathlib import Path

from html_page import Page
from made_runs import HOSTILE, made_run

Cli = Callable[..., tuple[int, str, str]]


def page_of(cli: Cli, file: Path, *folders: Path) -> Page:
    status, out, err = cli("compare", *folders, "--html", file)
    assert status == 0, err
    assert f"HTML page: {file}" in out
    return Page(file.read_text(encoding="utf-8"))


def runs(folder: Path, said: str = "fine", skill: str = "") -> list[Path]:
    one = made_run(folder / "one", "11110000", said=said, skill=skill)
    two = made_run(folder / "two", "00111111", said=said, skill=skill, settings=["seed=5"])
    return [one, two]


def test_the_page_of_runs_has_the_figures_of_the_terminal(tmp_path: Path, cli: Cli) -> None:
    page = page_of(cli, tmp_path / "page.html", *runs(tmp_path))
    for words in (
        "2 runs of task arithmetic",
        "B - A: +0.250, 95% interval",
        "McNemar's exact p = .688; both solve 2, A alone 2, B alone 4, neither 0",
        "seed 0 5",
        "rows accepted 10 10",
        "A alone solves 2 instances",
        "B alone solves 4 instances",
        "A, 10 rows: 0.500 (0.150 to 0.850), n = 4",
    ):
        assert words in page.text, words
    assert page.tags.count("polyline") == 2


def test_a_page_runs_no_script_and_fetches_nothing(tmp_path: Path, cli: Cli) -> None:
    page = page_of(cli, tmp_path / "page.html", *runs(tmp_path))
    assert not {"script", "link", "img", "iframe", "object", "form", "a"} & {*page.tags}
    assert not {"src", "href", "action"} & page.attributes
    assert not [name for name in page.attributes if name.startswith("on")]


def test_what_a_model_wrote_is_no_part_of_the_page(tmp_path: Path, cli: Cli) -> None:
    plain = page_of(cli, tmp_path / "plain.html", *runs(tmp_path / "plain", skill="add"))
    page = page_of(cli, tmp_path / "hostile.html", *runs(tmp_path / "hostile", HOSTILE, skill=HOSTILE))
    assert page.tags == plain.tags
    assert page.attributes == plain.attributes
    assert page.text.count("<script>alert(1)</script>") >= 10 and "{{ 7 * 7 }} &amp;" in page.text
    assert "\x1b" not in page.text, "an escape sequence is no text"


def test_of_many_instances_some_are_shown(tmp_path: Path, cli: Cli) -> None:
    many = [made_run(tmp_path / name, right * 60) for name, right in (("a", "1"), ("b", "0"))]
    page = page_of(cli, tmp_path / "page.html", *many)
    assert "A alone solves 60 instances" in page.text and "20 more; all of them" in page.text
    assert "B alone solves 0 instances" in page.text
