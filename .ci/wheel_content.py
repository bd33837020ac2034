"""Checks that the wheel holds every module and template of the checkout: wheel_content.py CHECKOUT WHEEL."""

import sys
from pathlib import Path
from zipfile import ZipFile

ROOMS = {
    "dataenvgym": "dataenvgym",
    "agents": "dataenvgym/agents",
    "envs": "dataenvgym/envs",
    "graphs": "dataenvgym/graphs",
    "prompts": "dataenvgym/prompts",
}
SUFFIXES = {".py", ".jinja", ".typed", ".yaml", ".txt"}

checkout, wheel = Path(sys.argv[1]), sys.argv[2]
expected = {
    f"{inside}/{file.relative_to(checkout / folder).as_posix()}"
    for folder, inside in ROOMS.items()
    for file in (checkout / folder).rglob("*")
    if file.suffix in SUFFIXES
}
names = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
licensed = any(name.endswith(".dist-info/licenses/LICENSE") for name in ZipFile(wheel).namelist())
problems = [f"missing from the wheel: {name}" for name in sorted(expected - names)]
problems += [f"in the wheel, not in the checkout: {name}" for name in sorted(names - expected)]
problems += [] if licensed else ["missing from the wheel: LICENSE"]
templates = sum(name.endswith(".jinja") for name in expected)
sys.exit("\n".join(problems) or (0 if templates else "the checkout has no templates"))
