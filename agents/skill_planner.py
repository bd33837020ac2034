"""The skill planner: a policy turns feedback into a plan, a list of data requests.

Which policies there are, and what they share, stands in `policies/`.
"""

from __future__ import annotations

from dataenvgym.agents.feedback_reader import Feedback
from dataenvgym.agents.llm.asking import TeacherClient
from dataenvgym.agents.policies import Policy
from dataenvgym.envs.errors import BudgetReachedError, TeacherError
from dataenvgym.envs.types import Plan


async def make_plan(policy: Policy, feedback: Feedback, client: TeacherClient, seed: int) -> Plan:
    """What the policy asks for.

    Raises:
        BudgetReachedError: a cap forbids asking the model.
        TeacherError: the model gave no usable plan, or its server cannot be reached.
    """
    return await policy.plan(feedback, client, seed)


def no_plan(policy: Policy, reached: BudgetReachedError) -> Plan:
    """The plan where a cap forbids asking the model: no rows, with the reason in its notes."""
    return Plan(policy=policy.name, requests=[], notes=str(reached))


def rows_asked(policy: Policy, plan: Plan) -> int:
    """How many rows a plan asks for.

    Raises:
        TeacherError: none at all.
    """
    rows = sum(request.count for request in plan.requests)
    if not rows:
        raise TeacherError(f"plan_data: the policy {policy.name!r} asked for no rows at all")
    return rows
