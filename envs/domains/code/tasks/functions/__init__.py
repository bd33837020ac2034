"""The embedded code task: small Python functions, drawn from procedural skills."""

from dataenvgym.envs.domains.code.tasks.functions import task

__all__ = ["task"]
