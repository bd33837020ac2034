"""Policies: from feedback to a plan. One module each; `registry.py` names them."""

from dataenvgym.agents.policies.registry import DEFAULTS, POLICIES, Policy, find_policy, own_policy, policy

__all__ = ["DEFAULTS", "POLICIES", "Policy", "find_policy", "own_policy", "policy"]
