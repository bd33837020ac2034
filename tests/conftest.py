"""Settings of all tests, and a cache folder of their own."""

import os
from collections.abc import Iterator

import pytest
import warm
from hypothesis import settings

CACHE = "DATAENVGYM_CACHE"

# The workers of pytest-xdist share the cores: more threads than cores slow each other several times over.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))

# Read when the hub's library is loaded: no test asks the hub, and one that would waits for no retries.
os.environ["HF_HUB_OFFLINE"] = "1"

# No deadline per example: the first one may import scipy or SymPy, and no test may depend on a clock.
settings.register_profile("dataenvgym", deadline=None)
settings.load_profile("dataenvgym")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bool]:
    """No test writes into the user's cache, unless the variable names it. True: the folder is temporary."""
    if os.environ.get(CACHE):
        yield False
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE, str(tmp_path_factory.mktemp("cache")))
        yield True


@pytest.fixture(autouse=True)
def shared_cache_of_slow_tests(
    request: pytest.FixtureRequest, own_cache: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow tests use the user's cache: the real student is converted and schooled once, not once per session."""
    if own_cache and request.node.get_closest_marker("slow"):
        monkeypatch.delenv(CACHE)


@pytest.fixture(scope="session")
def warm_server() -> Iterator[warm.Server | None]:
    """The process that has loaded the large libraries and forks those of the tests."""
    with warm.served() as server:
        yield server


@pytest.fixture(scope="module")
def warm_processes(warm_server: warm.Server | None) -> Iterator[None]:
    """What the module's tests start of this Python is forked: real processes, without seconds of imports each."""
    with warm.using(warm_server):
        yield
