"""The code domain: a problem in words, its tests, and a Python program that is judged by running it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator

from dataenvgym.envs.domains.base import DOMAINS, LONGEST_DETAIL, Domain, DomainSpec, Item, Mark
from dataenvgym.envs.domains.code.columns import entry_point, starter_fault
from dataenvgym.envs.domains.code.private_tests import Case, cases, has_private_tests, private_tests
from dataenvgym.envs.domains.code.sandbox.types import (
    CallTest,
    Isolation,
    Judgement,
    Limits,
    Program,
    ScriptTest,
    StdinTest,
    Test,
)
from dataenvgym.envs.domains.code.text import extract_code, render_code, same_code, without_fence
from dataenvgym.envs.errors import DataError
from dataenvgym.envs.text import clean
from dataenvgym.envs.types import Instance, Progress, Row

INSTRUCTION = "The answer is complete Python code with the given names: no fence, no tests, no words."
MAX_CODE = 100_000
"""Characters of code; longer code is not run."""
MOST_TESTS = 20
TESTS_SHOWN, LONGEST_TEST = 3, 300
"""Of an item's tests prompts show so many, none longer than so many characters: there may be megabytes of them."""
TOGETHER = 8
"""Programs whose private tests are unpacked at the same time; one problem's may take hundreds of megabytes."""


def _text(shortest: int, longest: int) -> StringConstraints:
    return StringConstraints(min_length=shortest, max_length=longest)


def _as_json(value: Any) -> Any:
    """A JSON value where its text is expected; models write `5` as often as `"5"`."""
    return value if isinstance(value, str) else json.dumps(value)


def _or_nothing(value: Any) -> Any:
    return "" if value is None else value


class CodeCase(BaseModel):
    """One test as the teacher's model writes it."""

    model_config = ConfigDict(extra="ignore")

    input: Annotated[str, _text(0, 4_000), BeforeValidator(_as_json)] = Field(
        description="For a function: its arguments as JSON, one per line, e.g. [1, 2]\\n3 for two. "
        "For a program: what stands on standard input."
    )
    output: Annotated[str, _text(0, 4_000), BeforeValidator(_as_json)] = Field(
        description='For a function: what it returns, as JSON, e.g. 5 or [1, 2] or true or "text". '
        "For a program: what it prints."
    )


class CodeRow(BaseModel):
    """One training row as the teacher's model writes it. The descriptions are part of what it is shown."""

    model_config = ConfigDict(extra="ignore")
    code_fields: ClassVar[frozenset[str]] = frozenset({"starter", "tests", "answer"})
    """Where a line break is never the beginning of a LaTeX command."""

    question: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=6_000)] = Field(
        description="The full problem statement in words: what goes in, what comes out, and the limits."
    )
    starter: Annotated[str, _text(0, 2_000), BeforeValidator(_or_nothing)] = Field(
        "",
        description="For a function: its first line, e.g. def add(a, b): with what it needs before it. "
        "Empty for a program that reads standard input and prints.",
    )
    tests: list[CodeCase] = Field(
        min_length=1, max_length=MOST_TESTS, description="Tests with correct results, edge cases among them."
    )
    solution: Annotated[str, _text(0, 4_000)] = Field(
        "", description="Words that stand before the code, if the solutions shown have any; else empty."
    )
    answer: Annotated[str, _text(1, 8_000)] = Field(
        description="The complete code, with the starter's first line; plain Python without a fence."
    )

    @field_validator("starter", "answer")
    @classmethod
    def _without_fence(cls, code: str) -> str:
        return same_code(without_fence(code))


class CodeOptions(BaseModel):
    """The options of a code task."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sandbox: Isolation = Field(
        "bubblewrap",
        description="Where untrusted programs run. bubblewrap: no network, read-only system files, a private "
        "/tmp. rlimits: limits on processor, memory and output only; such a program can read your files and use "
        "the network.",
    )
    cpu_seconds: float = Field(5.0, gt=0, description="Processor time for one test of a program.")


DOMAINS["code"] = DomainSpec(
    name="code",
    summary="Python programs, judged by running them on tests",
    package="dataenvgym.envs.domains.code",
    row_model=CodeRow,
    instruction=INSTRUCTION,
    shown={"starter": "def add(a, b):  #", "tests": [{"input": "12\n30", "output": "42"}]},
    shown_unsolved={"starter": "def add(a, b):  #"},
)


def code_domain(
    options: CodeOptions,
    prompt: Callable[[Item], str],
    *,
    whole_programs: bool = False,
    completed: Callable[[Item, str], str] = lambda _, code: code,
    identity: Callable[[str], str | None] | None = None,
) -> Domain:
    """The code domain of a task that asks its problems with `prompt`; programs run as `options` say.

    `whole_programs`: the task asks for programs on stdin too. `completed`: (item, answer) -> what is run, where
    an answer may be less than that. `identity`: see `Domain`.
    """

    def run(programs: Sequence[Program], progress: Progress | None) -> list[Judgement]:
        from dataenvgym.envs.domains.code.sandbox import judge

        limits = Limits(cpu_seconds=options.cpu_seconds)
        return judge(programs, isolation=options.sandbox, limits=limits, stop_at_first=True, progress=progress)

    return Domain(
        name="code",
        instruction=INSTRUCTION,
        form=prompt,
        render_answer=render_code,
        extract=extract_code,
        equal=lambda gold, other: same_code(gold) == same_code(other),
        row_model=CodeRow,
        mark=lambda items, answers, progress: mark(
            items, [completed(*pair) for pair in zip(items, answers, strict=True)], run, progress
        ),
        vet=lambda rows, progress: vet(rows, run, lambda row: _misfit(row, prompt, whole_programs), progress),
        identity=identity,
        show=_shown,
        show_unsolved=_starter,
        clean_answer=without_fence,
    )


def _starter(item: Item) -> dict[str, Any]:
    return {"starter": item.extra.get("starter") or ""}


def _shown(item: Item) -> dict[str, Any]:
    tests = [t for t in item.extra.get("tests") or [] if len(t["input"]) + len(t["output"]) <= LONGEST_TEST]
    shown = [{**t, "input": clean(t["input"]), "output": clean(t["output"])} for t in tests[:TESTS_SHOWN]]
    return {**_starter(item), "tests": shown}


Run = Callable[[Sequence[Program], Progress | None], list[Judgement]]


def mark(items: Sequence[Item], answers: Sequence[str], run: Run, progress: Progress | None = None) -> list[Mark]:
    """Whether each program passes all tests of its item. Private tests are unpacked for those alone that pass the
    others, a few at a time. In `progress` a program counts once more for its private tests.

    Raises:
        DataError: the tests of an instance are not in their form. A row with such tests is marked as wrong.
    """
    programs: list[Program] = []
    faults: dict[int, str] = {}
    for number, (item, answer) in enumerate(zip(items, answers, strict=True)):
        try:
            programs.append(program_of(item, answer))
        except DataError as error:
            if isinstance(item, Instance):
                raise
            faults[number] = str(error)
            programs.append(Program(code="", tests=()))
    marks = [_mark(judgement) for judgement in run(programs, progress)]
    for number, fault in faults.items():
        marks[number] = Mark(False, fault)
    left = [
        n
        for n, item in enumerate(items)
        if n not in faults
        and has_private_tests(item)
        and (marks[n].correct or not programs[n].tests)
        and _fits(answers[n])
    ]
    for start in range(0, len(left), TOGETHER):
        chosen = left[start : start + TOGETHER]
        hidden = [
            programs[n].model_copy(update={"tests": _tests(items[n], private_tests(items[n]))}) for n in chosen
        ]
        told = _further(progress, len(programs) + start, len(programs) + len(left))
        for n, judgement in zip(chosen, run(hidden, told), strict=True):
            marks[n] = _mark(judgement, before=len(programs[n].tests))
    return marks


def program_of(item: Item, code: str) -> Program:
    """Code as an answer to an item, after the code that the item gives, with the tests that it carries.

    Raises:
        DataError: the tests are not in the form that their kind has.
    """
    if not _fits(code):
        code = f"raise MemoryError('the answer has {len(code):,} characters, more than {MAX_CODE:,}')"
    script = str(item.extra.get("script") or "")
    tests = (ScriptTest(code=script),) if script else _tests(item, cases(item.extra.get("tests") or [], item.id))
    given = str(item.extra.get("given") or "")
    entry = entry_point(item)
    if isinstance(item, Instance) and entry.startswith("Solution.") and "class Solution" not in code:
        entry = entry.removeprefix("Solution.")  # as LiveCodeBench's own evaluation does
    return Program(code=f"{given}\n\n{code}" if given else code, tests=tests, entry=entry)


def vet(
    rows: Sequence[Row], run: Run, misfit: Callable[[Row], str] = lambda _: "", progress: Progress | None = None
) -> list[str]:
    """What is wrong with rows, "" for a sound one: the answer fails, or a program that solves nothing passes.

    All programs of all rows are run together, but those of a row with a `misfit`: a reason known beforehand.
    """
    reasons: list[str] = []
    programs: list[Program] = []
    kinds: list[list[str]] = []
    for row in rows:
        try:
            answer = program_of(row, row.answer)
            reasons.append(misfit(row) if answer.tests else "it has no tests")
        except DataError as error:
            reasons.append(str(error))
        trivial = {} if reasons[-1] else _trivial(answer)
        kinds.append(list(trivial))
        if not reasons[-1]:
            programs += [answer, *(answer.model_copy(update={"code": code}) for code in trivial.values())]
    judged = iter(run(programs, progress))
    for number, reason in enumerate(reasons):
        if reason:
            continue
        own = _mark(next(judged))
        passed = [kind for kind, judgement in [(kind, next(judged)) for kind in kinds[number]] if judgement.passed]
        if not own.correct:
            reasons[number] = f"the answer does not pass its own tests: {own.detail}"
        elif passed:
            reasons[number] = f"its tests show nothing: a program that {passed[0]} passes them"
    return reasons


def _misfit(row: Row, prompt: Callable[[Item], str], whole_programs: bool) -> str:
    """Why a row would not be asked in the form of the benchmark's problems; "" for one that is."""
    starter = str(row.extra.get("starter") or "")
    if not starter.strip():
        return "" if whole_programs else "it has no starter, and the task asks for functions"
    if not (entry := entry_point(row)):
        return "its starter defines no function"
    if fault := starter_fault(starter):
        return f"its starter {fault}"
    name = entry.rpartition(".")[2]
    if not re.search(rf"\b{re.escape(name)}\b", prompt(row)):
        return f"the problem does not name the function {name!r}, so nobody can know that it is to have that name"
    return ""


def _further(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Progress on a part of a longer piece of work."""
    return None if progress is None else lambda done, _: progress(before + done, total)


def _fits(code: str) -> bool:
    return len(code) <= MAX_CODE


def _mark(judgement: Judgement, before: int = 0) -> Mark:
    """`before`: how many tests were run earlier, for the number of the one that was not passed."""
    if judgement.passed:
        return Mark(True)
    for number, result in enumerate(judgement.results, before + 1):
        if result.status != "passed":
            told = f"test {number}: {result.status}: {result.detail}".rstrip(": ")
            return Mark(False, told if len(told) <= LONGEST_DETAIL else f"{told[: LONGEST_DETAIL - 3]}...")
    return Mark(False, "there are no tests")


def _tests(item: Item, cases: Sequence[Case]) -> tuple[Test, ...]:
    """Tests in LiveCodeBench's form: one JSON value per line for functions, plain texts for programs."""
    if not entry_point(item):
        return tuple(StdinTest(stdin=case["input"], stdout=case["output"]) for case in cases)
    found: list[Test] = []
    for number, case in enumerate(cases, 1):
        try:
            args = [json.loads(line) for line in case["input"].split("\n") if line.strip()]
            found.append(CallTest(args=args, expected=json.loads(case["output"])))
        except (ValueError, RecursionError) as error:
            shown = f"input {case['input']!r:.80}, output {case['output']!r:.80}"
            raise DataError(
                f"test {number}: expected JSON, one argument per line of the input ({error}): {shown}"
            ) from None
    return tuple(found)


def _trivial(program: Program) -> dict[str, str]:
    """Programs that solve nothing, by what they do."""
    first = program.tests[0]
    if isinstance(first, StdinTest):
        return {
            "prints nothing": "",
            "prints its input": "import sys\nsys.stdout.write(sys.stdin.read())",
            "prints the first test's output": f"print({first.stdout!r})",
        }
    if isinstance(first, ScriptTest):
        return {
            "returns nothing": _returning(program.entry, "None"),
            "returns its argument": _returning(program.entry, "args[0] if args else None"),
        }
    echoes = {f"returns its argument {n + 1}": f"args[{n}]" for n in range(len(first.args))}
    bodies = {"returns nothing": "None", **echoes, "returns the first test's result": repr(first.expected)}
    return {kind: _returning(program.entry, value) for kind, value in bodies.items()}


def _returning(entry: str, value: str) -> str:
    name, dot, method = entry.partition(".")
    if dot:
        return f"class {name}:\n    def {method}(self, *args, **named):\n        return {value}"
    return f"def {name}(*args, **named):\n    return {value}"
