"""Run folders with chosen answers on val and test, written without running anything."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataenvgym.envs.evaluation import accuracy
from dataenvgym.envs.store import Store, write_bytes, write_json
from dataenvgym.envs.types import DataRequest, Plan, Prediction, Provenance, Row
from dataenvgym.graphs.config import dump_config, load_config
from dataenvgym.graphs.state import Step
from dataenvgym.graphs.summary import summarise

HOSTILE = (
    "</pre></td><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7 * 7 }} &amp; \x1b[31mred \x1b]0;open"
)


def predictions(right: str, said: str = "fine", skill: str = "", split: str = "test") -> list[Prediction]:
    """A prediction per character, right where it is 1; half of them of each skill, `add` and `double`."""
    return [
        Prediction(
            id=f"{split}/{n}",
            skill=skill or ("add" if n < len(right) / 2 else "double"),
            question=f"{said} {n}?",
            gold=str(n),
            text=said,
            answer=said,
            correct=one == "1",
            detail="",
        )
        for n, one in enumerate(right)
    ]


def split_prints(test: str = "t", val: str = "v", count: int = 4) -> dict[str, Any]:
    """The manifest's entry on the data."""
    splits = {"train": "x", "val": val, "test": test}
    prints = {split: {"count": count, "sha256": sha256} for split, sha256 in splits.items()}
    return {"hub": None, "revision": None, "splits": prints}


def made_run(
    folder: Path,
    best: str = "1100",
    base: str | None = None,
    curve: Sequence[tuple[int, str]] = ((0, "1000"), (10, "1100")),
    said: str = "fine",
    skill: str = "",
    data: dict[str, Any] | None = None,
    settings: Sequence[str] = (),
    forget: bool = False,
    taught: Sequence[Sequence[tuple[str, str, int, int]]] = (),
) -> Path:
    """A finished run; without `base` the base has all wrong.

    `curve`: the rows and the answers on val after each iteration; `forget`: its data;
    `taught`: per iteration (skill asked, skill of the rows, rows asked, rows accepted).
    """
    store, config = Store(folder), load_config(None, list(settings))
    text = dump_config(config)
    write_bytes(folder / "config.yaml", text.encode())
    manifest = {"config_sha256": hashlib.sha256(text.encode()).hexdigest()}
    write_json(folder / "manifest.json", manifest if forget else {**manifest, "data": data or split_prints()})
    steps = []
    for iteration, (rows, right) in enumerate(curve):
        answers = predictions(right, said, skill, "val")
        lines = taught[iteration - 1] if 0 < iteration <= len(taught) else []
        requests = [
            DataRequest(id=f"r{n}", skill=asked, count=count) for n, (asked, _, count, _) in enumerate(lines)
        ]
        rows_of = [_row(iteration, n, line[1], k) for n, line in enumerate(lines) for k in range(line[3])]
        steps.append(
            Step(
                iteration=iteration,
                student=f"s{iteration}" if iteration else None,
                predictions=store.save(Store.iteration(iteration, "predictions.jsonl"), answers),
                accuracy=accuracy(answers),
                n=len(answers),
                rows=rows,
                plan=store.save(f"iterations/{iteration:03d}/plan.jsonl", [Plan(policy="p", requests=requests)])
                if lines
                else None,
                accepted=store.save(f"iterations/{iteration:03d}/accepted-0.jsonl", rows_of) if lines else None,
                rejected=None,
            )
        )
    store.save("test/base.jsonl", predictions(base or "0" * len(best), said, skill))
    store.save("test/best.jsonl", predictions(best, said, skill))
    write_json(folder / "summary.json", summarise(config, folder, steps, "all iterations done"))
    return folder


def _row(iteration: int, request: int, skill: str, number: int) -> Row:
    source = Provenance(iteration=iteration, request=f"r{request}", model="m", prompt="p", prompt_hash="0")
    name = f"{iteration}-{request}-{number}"
    return Row(id=name, question=name, solution="", answer="1", skill=skill, provenance=source)


def changed_summary(folder: Path, **changes: Any) -> None:
    """Overwrite keys of a run's summary."""
    file = folder / "summary.json"
    write_json(file, {**json.loads(file.read_text()), **changes})


def made_sweep(out: Path, runs: Sequence[tuple[dict[str, Any], dict[str, Any] | None]]) -> Path:
    """A sweep's folder. `runs`: of each run its settings, and how `made_run` makes it; None: it has failed."""
    lines = []
    for number, (settings, made) in enumerate(runs):
        name = f"r{number}"
        line = {"name": name, "status": "finished", "reason": "", **settings}
        if made is None:
            line |= {"status": "failed", "reason": "no key"}
        else:
            made_run(
                out / name, settings=[f"{key}={json.dumps(value)}" for key, value in settings.items()], **made
            )
        lines.append(json.dumps({**line, "best": None, "val_area": None}) + "\n")
    write_bytes(out / "results.jsonl", "".join(lines).encode())
    return out


def right(accuracy: float, n: int) -> str:
    """Answers of which so many are right."""
    k = round(accuracy * n)
    return "1" * k + "0" * (n - k)
