"""The skill planner: a policy turns feedback into a plan, a list of data requests.

The policies and their shared code are in `policies/`.
"""

from __future__ import annotations

from dataenvgym.agents.diagnosis import with_diagnoses
from dataenvgym.agents.feedback_reader import Feedback
from dataenvgym.agents.llm.asking import TeacherClient
from dataenvgym.agents.policies import Policy
from dataenvgym.envs.errors import BudgetReachedError, TeacherError
from dataenvgym.envs.types import Plan


async def make_plan(policy: Policy, feedback: Feedback, client: TeacherClient, seed: int) -> Plan:
    """Let the policy make a plan; its reasons say what the feedback reader's model found, where one reads.

    Raises:
        BudgetReachedError: a cap prevents a call to the model.
        TeacherError: the model gave no usable plan, or its server cannot be reached.
    """
    return with_diagnoses(await policy.plan(feedback, client, seed), feedback.diagnoses)


def no_plan(policy: Policy, reached: BudgetReachedError) -> Plan:
    """Return an empty plan, for when a cap prevents calls to the model; the notes give the reason."""
    return Plan(policy=policy.name, requests=[], notes=str(reached))


def rows_asked(policy: Policy, plan: Plan) -> int:
    """Count the rows that a plan asks for.

    Raises:
        TeacherError: the plan asks for no rows.
    """
    rows = sum(request.count for request in plan.requests)
    if not rows:
        raise TeacherError(f"plan_data: the policy {policy.name!r} asked for no rows")
    return rows
