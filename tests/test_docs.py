"""The documentation builds without a warning, its Python runs, and its command lines are ones that exist."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

import dataenvgym
from dataenvgym.cli import _parser
from dataenvgym.graphs.config import describe

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
if not DOCS.is_dir():
    pytest.skip("the documentation is not beside these tests", allow_module_level=True)

PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
NO_RUN = "no-run"  # in a fence: ```python no-run
FENCE = re.compile(r"^(?P<tick>`{3,})(?P<info>[^\n`]*)\n(?P<code>.*?)^(?P=tick)[ \t]*$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?:\$ )?(?:\.venv/bin/)?dataenvgym (?P<rest>(?:.*\\\n)*.*)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: the words after the fence, the text, and the line of the page that it starts on."""

    info: list[str]
    code: str
    line: int


@cache
def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(found["info"].split(), found["code"], text.count("\n", 0, found.start("code")) + 1)
        for found in FENCE.finditer(text)
    ]


def python_blocks(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.info[:1] == ["python"]]


def commands(page: Path) -> Iterator[tuple[int, str]]:
    """(line, arguments) of every `dataenvgym ...` in a console block, or in one without a language."""
    for block in blocks(page):
        if block.info[:1] in ([], ["console"], ["bash"], ["sh"]):
            for found in COMMAND.finditer(block.code):
                line = block.line + block.code.count("\n", 0, found.start())
                yield line, found["rest"].replace("\\\n", " ")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    for package in ("zensical", "mkdocstrings_handlers.python"):
        if find_spec(package.partition(".")[0]) is None or find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install 'dataenvgym[docs]'")
    out = tmp_path_factory.mktemp("docs") / "site"
    made = subprocess.run([sys.executable, DOCS / "build.py", "--out", out], capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    assert "Warning" not in made.stdout
    return out


@pytest.mark.slow
def test_the_site_has_a_page_for_every_file(site: Path) -> None:
    for page in DOCS.rglob("*.md"):
        assert (site / page.relative_to(DOCS).with_suffix(".html")).is_file(), name(page)


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        for tag in re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page.read_text(encoding="utf-8")):
            assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", tag), f"{page.name}: {tag}"


@pytest.mark.slow
def test_the_reference_has_every_command_key_and_public_name(site: Path) -> None:
    cli, config, api = ((site / f"reference/{page}.html").read_text() for page in ("cli", "config", "api"))
    for command in commands_of_the_program():
        assert f'id="dataenvgym-{command}"' in cli
    for key, _, _ in describe():
        assert f"<code>{key}</code>" in config
    for public in dataenvgym.__all__:
        if public != "__version__":
            module = getattr(dataenvgym, public).__module__
            assert f'id="{module}.{public}"' in api


def commands_of_the_program() -> list[str]:
    return [name for action in _parser()._actions for name in getattr(action, "choices", None) or ()]


@pytest.mark.parametrize("page", [page for page in PAGES if list(commands(page))], ids=name)
def test_command_lines_use_options_and_keys_that_exist(page: Path) -> None:
    keys = {key for key, _, _ in describe()}
    for line, text in commands(page):
        words = shlex.split(text, comments=True)
        end = next((n for n, word in enumerate(words) if word in ("|", ">", ">>", "&&", ";", "&")), len(words))
        try:
            arguments = _parser().parse_args(words[:end])
        except SystemExit as refused:  # argparse has said why on stderr; --help and --version end with 0
            assert not refused.code, f"{name(page)}, line {line}: dataenvgym {text}"
            continue
        for change in getattr(arguments, "set", None) or []:
            key = change.partition("=")[0]
            assert key in keys or key.startswith("task.options."), (
                f"{name(page)}, line {line}: no config key {key!r}"
            )


@pytest.mark.slow
@pytest.mark.usefixtures("warm_processes")
@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)], ids=name)
def test_the_python_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = [block for block in python_blocks(page) if NO_RUN not in block.info]
    with capsys.disabled():
        print(f"\n{name(page)}: {len(run)} blocks run, {len(python_blocks(page)) - len(run)} left out")
    # The blocks of a page are one program, each on its own lines, so that a traceback names the page's line.
    program: list[str] = []
    for block in run:
        program += [""] * (block.line - 1 - len(program)) + block.code.splitlines()
    script = tmp_path / f"{page.stem}.py"
    script.write_text("\n".join(program) + "\n", encoding="utf-8")
    work = tmp_path / "work"
    work.mkdir()
    for key in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "AZURE_OPENAI_API_KEY"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("DATAENVGYM_CACHE", str(tmp_path / "cache"))  # an example's student is nobody else's
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    ended = subprocess.run([sys.executable, script], cwd=work, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, f"{name(page)}\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"


def test_a_python_block_that_is_left_out_says_so_in_its_fence() -> None:
    for page in PAGES:
        for block in python_blocks(page):
            assert set(block.info[1:]) <= {NO_RUN}, f"{name(page)}, line {block.line}: {' '.join(block.info)}"
