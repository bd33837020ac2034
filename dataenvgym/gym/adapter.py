"""The environment as a `gymnasium.Env`, for code that wants spaces: `gym_env(dataenvgym.make(...))`."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dataenvgym.envs.errors import MissingDependencyError
from dataenvgym.envs.observation import Observation
from dataenvgym.gym.environment import FIELDS, DataEnv

if TYPE_CHECKING:
    import gymnasium

LONGEST = 2_000  # the most characters of a field in the space; DataEnv itself accepts whatever the checks accept


def gym_env(env: DataEnv) -> gymnasium.Env[Any, Any]:
    """Add spaces to `env`; the result passes `gymnasium.utils.env_checker.check_env`.

    The action is a tuple of rows, each a dict of texts: question, solution, answer, skill, and the other fields of
    a row of the domain (code: `starter`, and `tests` as JSON, `[{"input": "1", "output": "2"}]`). The observation
    holds numbers between 0 and 1: `accuracy` (1,), `skills` (k,) in the order of `env.unwrapped.skills`, and
    `used` (1,), the share of iterations done. Without state (`state=False`) it holds `used` alone: an accuracy of
    0 would say that every answer is wrong. `info["observation"]` is the whole observation.

    Raises:
        MissingDependencyError: gymnasium is not installed.
    """
    try:
        import gymnasium
        import numpy as np
        from gymnasium import spaces
    except ImportError as error:
        raise MissingDependencyError("gym_env needs: pip install 'dataenvgym[gym]'") from error

    class TeachingEnv(gymnasium.Env[Any, Any]):
        metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

        def __init__(self) -> None:
            self.skills = env.skills
            measured = {"accuracy": 1, "skills": len(self.skills)} if env.config.state else {}
            unit = {**measured, "used": 1}
            self._shown = tuple(unit)
            self.observation_space = spaces.Dict(
                {name: spaces.Box(0.0, 1.0, (size,), np.float32) for name, size in unit.items()}
            )
            text = spaces.Text(LONGEST, min_length=0, charset=string.printable)
            self.action_space = spaces.Sequence(spaces.Dict(dict.fromkeys([*FIELDS, *env.row_fields], text)))

        def reset(
            self, *, seed: int | None = None, options: dict[str, Any] | None = None
        ) -> tuple[dict[str, Any], dict[str, Any]]:
            super().reset(seed=seed)
            observation, info = env.reset(seed=seed, options=options)
            return self._numbers(observation), {**info, "observation": observation}

        def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
            observation, reward, terminated, truncated, info = env.step([_decode(row, env) for row in action])
            return self._numbers(observation), reward, terminated, truncated, {**info, "observation": observation}

        def close(self) -> None:
            env.close()

        def _numbers(self, observation: Observation) -> dict[str, Any]:
            known = {skill.name: skill.accuracy or 0.0 for skill in observation.skills}
            values = {
                "accuracy": [observation.accuracy],
                "skills": [known.get(name, 0.0) for name in self.skills],
                "used": [min(1.0, (observation.iteration - 1) / env.config.budget.iterations)],
            }
            return {name: np.array(values[name], dtype=np.float32) for name in self._shown}

    return TeachingEnv()


def _decode(row: Mapping[str, str], env: DataEnv) -> dict[str, Any]:
    """Parse the JSON fields of a row. Invalid JSON is passed on; the checks reject it."""
    return {name: _value(text) if env.row_fields.get(name) else text for name, text in row.items()}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
