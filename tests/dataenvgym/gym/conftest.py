"""The stub student."""

from pathlib import Path

import pytest
from stub_student import GrowingStudent, registered


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GrowingStudent:
    """The student `stub`, registered for this test."""
    return registered(tmp_path, monkeypatch)
