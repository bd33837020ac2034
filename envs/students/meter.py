"""Measure a training: loss, speed and memory, reported after each step and summed up at the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from dataenvgym.envs.types import Progress

log = logging.getLogger("dataenvgym.students")
Watch = Callable[[dict[str, Any]], None]
"""Called after each step with done, total, loss, tokens_per_second and peak_memory_mb, or with a note alone."""

# The most points of the stored loss curve, evenly spread over the steps.
CURVE = 50


def note(text: str) -> None:
    """Warn on the terminal that a setting was changed during training."""
    log.warning(text)


class Meter:
    """Measures from `begin` on, after the weights are read. `device`: torch's name of the training device."""

    def __init__(self, device: str, progress: Progress | None = None, watch: Watch | None = None) -> None:
        self._began, self.device = time.perf_counter(), device
        self._progress, self._watch = progress, watch
        self._tokens = 0
        self._losses: list[float] = []
        self._notes: list[str] = []
        if device.startswith("cuda"):
            import torch

            torch.cuda.reset_peak_memory_stats(device)

    def begin(self) -> None:
        """Start measuring, before the first step."""
        self._began = time.perf_counter()

    def step(self, done: int, total: int, loss: float, tokens: int) -> None:
        """Record optimiser step `done` of `total`, on rows of `tokens` tokens in total."""
        self._tokens += tokens
        self._losses.append(loss)
        if self._watch:
            now = {"tokens_per_second": self._speed(), "peak_memory_mb": self._peak_memory()}
            self._watch({"done": done, "total": total, "loss": loss, **now})
        if self._progress:
            self._progress(done, total)

    @property
    def last_loss(self) -> float:
        """Return the value of the last step; 0 before the first."""
        return self._losses[-1] if self._losses else 0.0

    def again(self) -> None:
        """Discard the steps so far, because the training starts again."""
        self._tokens, self._losses = 0, []

    def note(self, text: str) -> None:
        """Print a note on the terminal and keep it for the summary."""
        self._notes.append(text)
        note(text)
        if self._watch:
            self._watch({"note": text})

    def measured(self) -> dict[str, Any]:
        """Return the measured fields of TrainSummary."""
        spread = max(1, -(-len(self._losses) // CURVE))
        return {
            "seconds": time.perf_counter() - self._began,
            "tokens_per_second": self._speed(),
            "peak_memory_mb": self._peak_memory(),
            "losses": [round(loss, 4) for loss in self._losses[::spread]],
            "notes": list(self._notes),
        }

    def _speed(self) -> float:
        return round(self._tokens / max(1e-9, time.perf_counter() - self._began), 1)

    def _peak_memory(self) -> float:
        """Return the peak in megabytes: of the GPU's tensors since the start; on a CPU, of the whole process."""
        if self.device.startswith("cuda"):
            import torch

            return round(torch.cuda.max_memory_allocated(self.device) / 1e6, 1)
        import resource
        import sys

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes, on macOS bytes
        return round(peak / (1e6 if sys.platform == "darwin" else 1e3), 1)
