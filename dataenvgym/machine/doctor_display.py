"""The output of `dataenvgym doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

GIB = 2**30
STYLES = {"ok": "green", "missing": "bold red", "absent": "yellow"}
TITLES = {
    "basics": "basics",
    "packages": "required packages",
    "optional": "optional packages",
    "keys": "keys of teachers' models (the scripted teacher needs none)",
    "tools": "programs",
}
USES = {"lora": "LoRA", "full": "full", "serve": "serve"}


def show(found: dict[str, Any]) -> None:
    """Print the findings as tables."""
    console, machine = Console(), found["machine"]
    bf16 = {True: "with", False: "without", None: "unknown whether with"}[machine["bf16"]]
    console.print(Text(f"{machine['cpu']}, {machine['cores']} cores, {bf16} instructions for bfloat16"))
    memory = f"{machine['memory'] / GIB:.1f} GiB of memory, {machine['memory_free'] / GIB:.1f} available"
    console.print(Text(f"{memory}; {machine['system']}; torch for {machine['torch']}"))
    for gpu in found["gpus"]:
        size = f"{gpu['memory'] / GIB:.1f} GiB, {gpu['free'] / GIB:.1f} free"
        console.print(Text(f"GPU: {gpu['name']}, {size}, driver {gpu['driver']}"))
    if not found["gpus"]:
        console.print(Text(f"no GPU ({found['gpus_by']})"))
    elif machine["torch"] == "cpu":
        console.print(Text("torch is built for the CPU: it will not use the GPU. Install another build", "red"))
    for group, title in TITLES.items():
        checks = [check for check in found["checks"] if check["group"] == group]
        if group == "packages" and all(check["state"] == "ok" for check in checks):
            console.print(Text(f"\n{title}: all {len(checks)} are installed"))
        else:
            console.print(_checks(title, checks))
    console.print(_sizing(found["sizing"]))
    missing = [check["name"] for check in found["checks"] if check["state"] == "missing"]
    text = f"the defaults lack: {', '.join(missing)}" if missing else "the defaults have everything they need"
    console.print(Text(text, "bold red" if missing else "bold green"))


def _checks(title: str, checks: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0), title=title, title_justify="left")
    for column in ("what", "", "detail", "to install or set it"):
        table.add_column(column)
    for check in checks:
        state = Text({"ok": "yes", "missing": "missing", "absent": "no"}[check["state"]], STYLES[check["state"]])
        table.add_row(Text(check["name"]), state, Text(check["detail"]), Text(check["fix"]))
    return table


def _sizing(lines: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0), title_justify="left")
    table.title = "GiB needed for 4 rows of 1,024 tokens (LoRA, full) and 32 answers at once (serve)"
    table.add_column("student")
    table.add_column("paper")
    devices = lines[0]["devices"] if lines else []
    for device in devices:
        table.add_column(f"{device['device']}: {device['has']:.0f} GiB\nLoRA / full / serve", justify="right")
    for name in dict.fromkeys(line["student"] for line in lines):
        mine = [line for line in lines if line["student"] == name]
        cells = [_cell([line["devices"][number] for line in mine]) for number in range(len(devices))]
        table.add_row(Text(f"{name} ({mine[0]['weights']:g} B)"), Text(mine[0]["paper"]), *cells)
    table.caption = "green: fits. An estimate, see docs/scaling.md; on a CPU the larger models fit but are slow"
    return table


def _cell(entries: Sequence[dict[str, Any]]) -> Text:
    parts = Text()
    for number, entry in enumerate(entries):
        parts.append(" / " if number else "")
        parts.append(f"{entry['needs']:.1f}", "green" if entry["fits"] else "red")
    return parts
