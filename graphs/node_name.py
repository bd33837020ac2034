"""The name of the node that runs."""

from __future__ import annotations


def node_name(default: str = "own") -> str:
    """Return the name under which the running node is in its graph; `default` outside of one."""
    from langgraph.config import get_config

    try:
        found = get_config().get("metadata", {}).get("langgraph_node")
    except RuntimeError:  # no graph runs
        found = None
    return str(found or default)
