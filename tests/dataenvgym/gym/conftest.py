"""The stub student."""

from pathlib import Path

import pytest
from stub_student import StubStudent, registered


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StubStudent:
    """The student `stub`, registered for this test."""
    return registered(tmp_path, monkeypatch)
