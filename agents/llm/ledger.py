"""The ledger: one JSON line per call to a chat model, in the run folder."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class CallRecord(BaseModel):
    """One logical call: a prompt, its content attempts and their result."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    node: str
    iteration: int
    model: str
    prompt: str = Field(description="Name of the prompt template.")
    prompt_hash: str
    sample: int
    attempts: int = Field(description="Requests sent to the model, each of them; 0 for a cached reply.")
    cached: bool
    ok: bool = Field(description="Whether at least one valid item came back.")
    prompt_tokens: int | None = Field(description="Over all attempts; null when the model reported none.")
    completion_tokens: int | None
    seconds: float
    valid: int
    failed: int
    salvaged: int = Field(0, description="Valid items of cut or partly invalid replies.")
    repaired: int = Field(0, description="LaTeX commands that were given back the backslash that JSON took.")
    estimated: bool = Field(False, description="Tokens are estimated from characters: the server counted none.")
    left_out: list[str] = Field([], description="Parameters that the model has refused so far.")
    reasons: list[str] = Field([], description="Why items or attempts failed, the first few.")
    error: str | None = None
    cost: float | None = Field(None, description="US dollars; null when the price or the tokens are unknown.")


class Totals(NamedTuple):
    """Sums over a ledger. Tokens: of calls that went to the model; of `unmetered` calls they are estimated.

    `cost`: US dollars of the calls whose cost is known, null when none is; `unpriced`: how many are not.
    """

    calls: int
    cached: int
    failed: int
    attempts: int
    prompt_tokens: int
    completion_tokens: int
    unmetered: int
    cost: float | None
    unpriced: int = 0


class Ledger:
    """An append-only file of `CallRecord` lines; several processes may append to one."""

    def __init__(self, path: Path) -> None:
        """Set the file's name; the first `append` creates it."""
        self.path = path
        self._checked = False

    def append(self, record: CallRecord) -> None:
        """Add a line in one write, so that lines of parallel calls never mix."""
        data = (record.model_dump_json() + "\n").encode()
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = 0 if self._checked else os.fstat(file).st_size
            if size and os.pread(file, 1, size - 1) != b"\n":
                data = b"\n" + data  # a killed process left half a line: keep it from swallowing this one
            self._checked = True
            os.write(file, data)
        finally:
            os.close(file)

    def records(self) -> Iterator[CallRecord]:
        """Yield the records so far, oldest first; skip a line cut by a kill."""
        if not self.path.exists():
            return
        with self.path.open("rb") as lines:
            for line in lines:
                try:
                    yield CallRecord.model_validate(json.loads(line))
                except (ValueError, ValidationError):
                    continue

    def totals(self, node: str | None = None, model: str | None = None) -> Totals:
        """Sums over all records, or over those of one node or model."""
        records = [r for r in self.records() if node in (None, r.node) and model in (None, r.model)]
        cached = [r for r in records if r.cached]
        paid = [r for r in records if r.attempts]  # a call that a cap prevented has none
        priced = [r.cost for r in paid if r.cost is not None]
        return Totals(
            calls=len(paid),
            cached=len(cached),
            failed=sum(not r.ok for r in paid),
            attempts=sum(r.attempts for r in paid),
            prompt_tokens=sum(r.prompt_tokens or 0 for r in paid),
            completion_tokens=sum(r.completion_tokens or 0 for r in paid),
            unmetered=sum(r.completion_tokens is None or r.estimated for r in paid),
            cost=sum(priced) if priced or not paid else None,
            unpriced=len(paid) - len(priced),
        )
