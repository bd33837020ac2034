"""The embedded tool-use task: requests for everyday tools, drawn from procedural skills."""

from dataenvgym.envs.domains.tool_use.tasks.tool_calls import task

__all__ = ["task"]
