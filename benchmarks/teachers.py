"""All six teachers on one task with equal rows, over seeds: what feedback is worth.

    python benchmarks/teachers.py --out runs/teachers [--config FILE.yaml] [--seeds 0 1 2] [--jobs 2]

Runs `dataenvgym run` once per teacher and seed (finished runs are kept, interrupted ones resumed), `--jobs` at a
time with one thread each, and prints a Markdown table and, as its last line, one JSON object.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from statistics import mean

STRUCTURES = ("open_ended", "skill_list", "skill_tree")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/teachers"))
    parser.add_argument("--config", type=Path, default=Path(__file__).with_suffix(".yaml"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--set", action="append", default=[])
    arguments = parser.parse_args()
    arms = list(product(arguments.seeds, STRUCTURES, (True, False)))
    with ThreadPoolExecutor(arguments.jobs) as pool:
        summaries = list(pool.map(lambda arm: run(arguments, *arm), arms))
    report(dict(zip(arms, summaries, strict=True)), arguments.seeds)


def run(arguments: argparse.Namespace, seed: int, structure: str, state: bool) -> dict:  # type: ignore[type-arg]
    folder = arguments.out / f"{structure}-{'state' if state else 'none'}-s{seed}"
    command = [sys.executable, "-m", "dataenvgym.cli"]
    if (folder / "config.yaml").exists():
        command += ["resume", str(folder)]
    else:
        values = [f"structure={structure}", f"state={str(state).lower()}", f"seed={seed}", *arguments.set]
        if structure == "open_ended":  # it has no skills for the config's policy to choose from
            values.append("teacher.policy=null")
        command += ["run", str(arguments.config), "--out", str(folder), *(x for v in values for x in ("--set", v))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} if arguments.jobs > 1 else None
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    summary = json.loads((folder / "summary.json").read_text())
    print(f"{folder.name}: gain {summary['test']['gain']['value']:+.3f}", file=sys.stderr, flush=True)
    return summary


def report(runs: dict, seeds: list[int]) -> None:  # type: ignore[type-arg]
    print("| structure | state | seed | rows | val curve | area | base | best | gain on test (95%) | lost > .10 |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for (seed, structure, state), s in sorted(runs.items(), key=lambda r: (r[0][1], not r[0][2], r[0][0])):
        gain = s["test"]["gain"]
        curve = " ".join(f"{p['accuracy']:.3f}" for p in s["val"])
        lost = [k for k, v in s["skills"].items() if v["best"] < v["base"] - 0.10]
        print(
            f"| {structure} | {'yes' if state else 'no'} | {seed} | {s['rows_accepted']} | {curve} "
            f"| {s['val_area']:.3f} | {s['test']['base']['accuracy']:.3f} | {s['test']['best']['accuracy']:.3f} "
            f"| {gain['value']:+.3f} [{gain['low']:+.3f} {gain['high']:+.3f}] | {', '.join(lost) or '-'} |"
        )
    print("\n| structure | area with state | without | difference per seed | test best with state | without |")
    print("| --- | --- | --- | --- | --- | --- |")
    figures = {}
    for structure in STRUCTURES:
        area = {st: [runs[seed, structure, st]["val_area"] for seed in seeds] for st in (True, False)}
        best = {
            st: [runs[seed, structure, st]["test"]["best"]["accuracy"] for seed in seeds] for st in (True, False)
        }
        differences = [a - b for a, b in zip(area[True], area[False], strict=True)]
        shown = " ".join(f"{d:+.3f}" for d in differences)
        print(
            f"| {structure} | {mean(area[True]):.3f} | {mean(area[False]):.3f} | {shown} "
            f"| {mean(best[True]):.3f} | {mean(best[False]):.3f} |"
        )
        figures[structure] = {
            "area_state": round(mean(area[True]), 4),
            "area_none": round(mean(area[False]), 4),
            "area_difference_per_seed": [round(d, 4) for d in differences],
            "area_ratio": round(mean(area[True]) / mean(area[False]), 4),
        }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
