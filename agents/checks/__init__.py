"""The named checks that a generated row must pass. One module each; `registry.py` names them."""

from dataenvgym.agents.checks.base import Check, CheckContext, Cost
from dataenvgym.agents.checks.registry import CHECKS, COSTS, check, configured, find_check

__all__ = ["CHECKS", "COSTS", "Check", "CheckContext", "Cost", "check", "configured", "find_check"]
