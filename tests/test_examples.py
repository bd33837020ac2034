"""Each example runs as its text says, with the tiny student and no key."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not SCRIPTS, reason="there is no examples/ beside the tests")]


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_example_runs(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    said = capsys.readouterr().out
    assert "rows" in said and "0 rows accepted" not in said.split("\n")[-2].split("s0 ")[-1][:15]
