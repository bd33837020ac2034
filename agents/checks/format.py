"""`format`: the row is complete and not too long."""

from dataenvgym.agents.checks.base import CheckContext, failed, passed
from dataenvgym.agents.checks.registry import check
from dataenvgym.envs.types import Row, Verdict

LONGEST = 8_000  # characters of prompt and completion together


@check("format", "free", "question and answer are there, the row is not overlong")
def check_format(row: Row, context: CheckContext) -> Verdict:
    """Check that question and answer are not empty and the row is not too long."""
    if not row.question.strip() or not row.answer.strip():
        return failed("format", "the question or the answer is empty")
    example = context.domain.example(row)
    size = len(example.prompt) + len(example.completion)
    if size > LONGEST:
        return failed("format", f"{size} characters, more than {LONGEST}")
    return passed("format")
