"""Which packages there are: every folder with an `__init__.py` in the five rooms, found at build time.

pyproject.toml holds all else. Its own search for packages cannot map a folder to another import name.
"""

from setuptools import find_packages, setup

ROOMS = {"dataenvgym": "dataenvgym"}
ROOMS |= {f"dataenvgym.{room}": room for room in ("agents", "envs", "graphs", "prompts")}

setup(
    package_dir=ROOMS,
    packages=[
        package
        for name, folder in ROOMS.items()
        for package in (name, *(f"{name}.{inner}" for inner in find_packages(folder)))
    ],
)
