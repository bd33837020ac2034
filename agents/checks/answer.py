"""`answer`: the task's own scorer reads the answer back."""

from dataenvgym.agents.checks.base import CheckContext, failed, passed
from dataenvgym.agents.checks.registry import check
from dataenvgym.envs.types import Row, Verdict


@check("answer", "free", "the task's scorer reads the answer back")
def check_answer(row: Row, context: CheckContext) -> Verdict:
    """Check that the completion that the student would learn passes the task's own scorer.

    It rejects an answer that cannot be read back. A wrong but readable answer passes, because it is its own gold.
    """
    text = context.domain.example(row).completion
    found, correct = context.domain.read_back(row.answer, text)
    if not correct:
        return failed("answer", f"the scorer reads {found!r} from the completion, not {row.answer!r}")
    return passed("answer")
