"""The code domain: rows as a model writes them, programs and their tests, marks and what is wrong with rows."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from code_rows import ISOLATION
from pydantic import ValidationError

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.base import Domain
from dataenvgym.envs.domains.code import sandbox
from dataenvgym.envs.domains.code.domain import (
    LONGEST_DETAIL,
    MAX_CODE,
    CodeOptions,
    CodeRow,
    code_domain,
    program_of,
)
from dataenvgym.envs.domains.code.sandbox.types import (
    CallTest,
    Judgement,
    Limits,
    Program,
    ScriptTest,
    StdinTest,
    TestResult,
)
from dataenvgym.envs.errors import DataError
from dataenvgym.envs.tasks import load_task
from dataenvgym.envs.types import Instance, Provenance, Row

ADD = "def add(a, b):\n    return a + b"
METHOD = "class Solution:\n    def add(self, a: int, b: List[int]) -> int:"
SUMS = [("1\n2", "3"), ("5\n6", "11")]
DOUBLES = [("1\n", "2\n"), ("4\n", "8\n")]


def domain(**settings: Any) -> Domain:
    options = CodeOptions.model_validate({"sandbox": ISOLATION, "cpu_seconds": 1.0, **settings})
    return code_domain(options, lambda item: f"Write Python code.\n{item.question}", whole_programs=True)


def row(answer: str = ADD, tests: Any = SUMS, starter: Any = "def add(a, b):", **extra: Any) -> Row:
    made = Provenance(iteration=1, request="r0", model="m", prompt="p", prompt_hash="0")
    if isinstance(tests, list):
        tests = [{"input": t[0], "output": t[1]} if isinstance(t, tuple) else t for t in tests]
    extra = {"starter": starter, "tests": tests, **extra}
    return Row(id="x", question="Write add.", solution="", answer=answer, skill="s", extra=extra, provenance=made)


def instance(answer: str = "", **extra: Any) -> Instance:
    return Instance(
        id="i", question="Add.", answer=answer, extra={"starter": "", "entry": "", "tests": [], **extra}
    )


class Stub:
    """Stands for the sandbox: keeps what it was given; `tell` says what comes of a test of a program."""

    def __init__(self, tell: Any = lambda program, test: TestResult(status="passed")) -> None:
        self.tell = tell
        self.calls: list[list[Program]] = []
        self.settings: dict[str, Any] = {}

    def __call__(self, programs: Sequence[Program], **settings: Any) -> list[Judgement]:
        self.calls.append(list(programs))
        self.settings = settings
        found: list[Judgement] = []
        for program in programs:
            results = tuple(self.tell(program, test) for test in program.tests)
            passed = bool(results) and all(result.status == "passed" for result in results)
            found.append(Judgement(results=results, passed=passed))
            if settings.get("progress"):
                settings["progress"](len(found), len(programs))
        return found


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    made = Stub()
    monkeypatch.setattr(sandbox, "judge", made)
    return made


# --- rows as a model writes them ---


def written(**fields: Any) -> CodeRow:
    given = {"question": "q", "starter": "def f(x):", "tests": [{"input": "1", "output": "1"}], "answer": "x = 1"}
    return CodeRow.model_validate({**given, **fields})


def test_a_value_where_its_text_is_expected_is_taken_as_json() -> None:
    found = written(tests=[{"input": 5, "output": [1, "a"]}, {"input": {"a": None}, "output": True}])
    assert [(t.input, t.output) for t in found.tests] == [("5", '[1, "a"]'), ('{"a": null}', "true")]
    assert written(tests=[{"input": "5\n6", "output": ""}]).tests[0].input == "5\n6"


@pytest.mark.parametrize(
    "answer", [ADD, f"```python\n{ADD}\n```", f"\n{ADD}   \n\n", f"```\n{ADD}", f"So:\n```\n{ADD}\n```"]
)
def test_a_fence_around_the_answer_is_taken_off(answer: str) -> None:
    assert written(answer=answer).answer == ADD


@pytest.mark.parametrize(
    "fields",
    [
        {"tests": []},
        {"tests": [{"input": "1", "output": "1"}] * 50},
        {"tests": [{"input": "1"}]},
        {"tests": [{"input": "1" * 5_000, "output": "1"}]},
        {"tests": "1"},
        {"question": " "},
        {"answer": ""},
        {"answer": "x" * 10_000},
    ],
)
def test_what_is_no_row_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        written(**fields)


def test_keys_that_nobody_asked_for_cost_no_row_and_null_is_no_starter() -> None:
    more = [{"input": "1", "output": "1", "testtype": "functional"}]
    found = written(tests=more, starter=None, difficulty="easy")
    assert (found.tests[0].output, found.starter) == ("1", "")


def test_a_fence_around_the_starter_is_taken_off() -> None:
    assert written(starter="```python\ndef add(a, b):\n```").starter == "def add(a, b):"


def test_every_field_is_described_for_the_model() -> None:
    schema = CodeRow.model_json_schema()
    assert set(schema["properties"]) == {"question", "starter", "tests", "solution", "answer"}
    assert all(field["description"] for field in schema["properties"].values())
    assert all(field["description"] for field in schema["$defs"]["CodeCase"]["properties"].values())


# --- programs ---


def test_tests_become_calls_texts_or_a_script() -> None:
    function = program_of(row(tests=[('[1, 2]\n"a"', "null")]), "code")
    assert (function.code, function.entry) == ("code", "add")
    assert function.tests == (CallTest(args=[[1, 2], "a"], expected=None),)
    program = program_of(row(tests=DOUBLES, starter=""), "code")
    assert program.entry == ""
    assert program.tests == tuple(StdinTest(stdin=given, stdout=shown) for given, shown in DOUBLES)
    script = program_of(instance(entry="f", script="assert f(1) == 2", tests=[]), "code")
    assert (script.tests, script.entry) == ((ScriptTest(code="assert f(1) == 2"),), "f")


@pytest.mark.parametrize(
    ("starter", "entry"),
    [
        ("def f(x):", "f"),
        ("import math\n\ndef helper(x):\n    return x\n\ndef f(x: int) -> int:\n    pass", "f"),
        ("class Solution:\n    def best(self, xs: List[int]) -> int:\n        ", "Solution.best"),
        ("    def f(x):\n        pass", "f"),
        ("def f(x):\n    pass\n\ndef add(x):\n    return x\n\ndef helper(x):\n    return x", "add"),
        ("class Solution:\n    def __init__(self):\n        pass\n\n    def best(self, xs):", "Solution.best"),
        ("class Other:\n    def f(self):", ""),
        ("", ""),
    ],
)
def test_what_the_tests_of_a_row_call_is_found_from_its_starter(starter: str, entry: str) -> None:
    assert program_of(row(starter=starter), "code").entry == entry


def test_a_method_may_be_answered_as_a_function_as_in_livecodebench() -> None:
    asked = instance(entry="Solution.add", tests=[])
    assert program_of(asked, METHOD).entry == "Solution.add"
    assert program_of(asked, ADD).entry == "add"
    # A row is learnt from, and must have the form that it is asked in.
    assert program_of(row(starter=METHOD), ADD).entry == "Solution.add"


def test_code_that_an_item_gives_stands_before_the_answer() -> None:
    assert program_of(instance(entry="f", given="import math"), ADD).code == f"import math\n\n{ADD}"


def test_overlong_code_is_not_run(stub: Stub) -> None:
    domain().marks([row()], ["#" * (MAX_CODE + 1)])
    assert len(stub.calls[0][0].code) < 200


# --- marks ---


def test_equal_is_the_same_code_but_for_blank_space() -> None:
    assert domain().equal(ADD, f"\n{ADD.replace(':', ':  ')}\r\n\n")
    assert not domain().equal(ADD, ADD.replace("+", "-"))


def test_marks_are_given_by_the_sandbox_under_the_settings_of_the_task(stub: Stub) -> None:
    stub.tell = lambda program, test: TestResult(status="passed" if "+" in program.code else "failed", detail="no")
    found = domain(sandbox="rlimits", cpu_seconds=2.5).marks([row(), row()], [ADD, "def add(a, b): ..."])
    assert [(m.correct, m.detail) for m in found] == [(True, ""), (False, "test 1: failed: no")]
    assert len(stub.calls) == 1
    assert (stub.settings["isolation"], stub.settings["limits"]) == ("rlimits", Limits(cpu_seconds=2.5))


def test_a_text_without_code_is_not_run(stub: Stub) -> None:
    texts = [f"So:\n```python\n{ADD}\n```", "", "```\n```"]
    found = domain().score([row()] * 3, texts)
    assert [(s.answer, s.correct) for s in found] == [(ADD, True), (None, False), (None, False)]
    assert [len(call) for call in stub.calls] == [1]


def test_the_reason_is_bounded_and_names_the_test(stub: Stub) -> None:
    stub.tell = lambda program, test: TestResult(status="error", detail="NameError (line 4): " + "x" * 10_000)
    (found,) = domain().marks([row()], [ADD])
    assert found.detail.startswith("test 1: error: NameError (line 4): xxx")
    assert len(found.detail) == LONGEST_DETAIL


NO_TESTS: list[Any] = [
    "abc",
    5,
    {"input": "1"},
    [1],
    [{"input": "1\n2"}],
    [{"input": 1, "output": 2}],
    [("x", "1")],
    [("1\n2", "")],
    [("[" * 5_000, "1")],
    [("9" * 5_000, "1")],
]


@pytest.mark.parametrize("tests", NO_TESTS)
def test_a_row_whose_tests_cannot_be_read_is_wrong_and_stops_nothing(stub: Stub, tests: Any) -> None:
    rows = [row(tests=tests), row()]
    first, second = domain().marks(rows, [ADD, ADD])
    assert not first.correct
    assert first.detail
    assert second.correct
    assert [s.correct for s in domain().score(rows, [ADD, ADD])] == [False, True]


@pytest.mark.parametrize("tests", NO_TESTS)
def test_an_instance_whose_tests_cannot_be_read_is_an_error(stub: Stub, tests: Any) -> None:
    with pytest.raises(DataError):
        domain().marks([instance(tests=row(tests=tests).extra["tests"], entry="add")], [ADD])


def test_private_tests_are_run_for_programs_that_pass_the_others(stub: Stub) -> None:
    coded = json.dumps([{"input": "7\n", "output": "14\n"}])
    item = instance(tests=[{"input": "1\n", "output": "2\n"}], private={"coded": coded})
    stub.tell = lambda program, test: TestResult(
        status="failed" if "bad" in program.code or ("half" in program.code and test.stdin == "7\n") else "passed"
    )
    found = domain().marks([item] * 3, ["good", "bad", "half"])
    assert [m.correct for m in found] == [True, False, False]
    assert [m.detail for m in found] == ["", "test 1: failed", "test 2: failed"]
    assert [[t.stdin for t in p.tests] for p in stub.calls[1]] == [["7\n"], ["7\n"]]  # type: ignore[union-attr]


def test_progress_counts_programs_and_those_that_go_on_to_private_tests(stub: Stub) -> None:
    coded = json.dumps([{"input": "7\n", "output": "14\n"}])
    item = instance(tests=[{"input": "1\n", "output": "2\n"}], private={"coded": coded})
    stub.tell = lambda program, test: TestResult(status="failed" if "bad" in program.code else "passed")
    told: list[tuple[int, int]] = []
    domain().score([item] * 3, ["good", "bad", "good"], lambda *now: told.append(now))
    assert told == [(1, 3), (2, 3), (3, 3), (4, 5), (5, 5)]
    told.clear()
    vet = domain().vet
    assert vet is not None
    vet([row()], lambda *now: told.append(now))
    assert told[-1] == (len(stub.calls[-1]),) * 2


# --- what is wrong with rows ---


def test_all_programs_of_all_rows_are_run_together(stub: Stub) -> None:
    vet = domain().vet
    assert vet is not None
    vet([row(), row(tests="none"), row(starter="", tests=DOUBLES)], None)
    assert len(stub.calls) == 1
    assert len(stub.calls[0]) > 6


@pytest.mark.parametrize("tests", [*NO_TESTS, [], None])
def test_rows_with_no_tests_that_can_be_read_are_named(stub: Stub, tests: Any) -> None:
    vet = domain().vet
    assert vet is not None
    reasons = vet([row(tests=tests)], None)
    assert reasons[0]
    assert not stub.calls[0]


def test_the_sandbox_finds_sound_rows_wrong_answers_and_tests_that_show_nothing() -> None:
    vet = domain().vet
    assert vet is not None
    cases: list[tuple[Row, str]] = [
        (row(), ""),
        (row(starter="", tests=DOUBLES, answer="print(2 * int(input()))"), ""),
        (row(starter=METHOD, answer=METHOD + "\n        return a + b"), ""),
        (row(answer=ADD.replace("+", "-")), "the answer does not pass its own tests: test 1: failed"),
        (row(answer="def plus(a, b):\n    return a + b"), "does not pass its own tests: test 1: error"),
        (row(answer="def add(a, b):\n    while True: pass"), "does not pass its own tests: test 1: timeout"),
        (row(answer="import os\nos._exit(0)"), "the answer does not pass its own tests"),
        (row(answer="(" * 5_000), "the answer does not pass its own tests"),
        (row(answer="def add(a, b):\n    return None", tests=[("1\n2", "null")] * 3), "returns nothing"),
        (row(answer="def add(a, b):\n    return b", tests=[("1\n2", "2"), ("5\n6", "6")]), "its argument 2"),
        (row(answer="def add(a, b):\n    return 3", tests=[("1\n2", "3"), ("2\n1", "3")]), "first test's result"),
        (row(tests=SUMS[:1]), "first test's result"),
        (row(tests=SUMS[:1] * 3), "first test's result"),
        (row(starter="", tests=[("1", ""), ("2", "")], answer="input()"), "prints nothing"),
        (row(starter="", tests=[("1\n", "1\n"), ("2\n", "2\n")], answer="print(input())"), "prints its input"),
        (row(starter="", tests=DOUBLES[:1], answer="print(2)"), "prints the first test's output"),
    ]
    reasons = vet([one for one, _ in cases], None)
    for (one, says), reason in zip(cases, reasons, strict=True):
        assert (says in reason) if says else not reason, (one.answer, one.extra["tests"], reason)


@pytest.mark.parametrize(
    ("starter", "question", "says"),
    [
        ("def add(a, b):", "Return the sum of two numbers.", "does not name the function 'add'"),
        ("def add(a, b)", "Write add.", "its starter is no Python"),
        ("def add(a, b): pass", "Write add.", "goes beyond the function's first line"),
        ('def add(a, b):\n    """Add."""', "Write add.", "goes beyond the function's first line"),
        ("x = 1", "Write add.", "its starter defines no function"),
        ("", "Write add.", "it has no starter"),
        ("import math\ndef add(a, b):\n    # here\n    ...\n", "Write add.", ""),
        ("class Solution:\n    def add(self, a, b):\n        ", "Write add.", ""),
        ("def add(a, b):\n    import math", "Write add.", ""),  # as HumanEval/115 has it
    ],
)
def test_a_row_in_another_form_than_the_benchmark_asks_in_is_named(
    stub: Stub, starter: str, question: str, says: str
) -> None:
    asks = code_domain(CodeOptions(), lambda item: f"Write Python code.\n{item.question}")
    assert asks.vet is not None
    (reason,) = asks.vet([row(starter=starter).model_copy(update={"question": question})], None)
    # The stub lets every program pass, trivial ones too.
    assert says in reason if says else "its tests show nothing" in reason


# --- the same prompt for instances and for rows ---


def test_a_row_is_learned_in_the_form_in_which_instances_are_asked() -> None:
    task = load_task(TaskConfig(name="functions", val_size=1, test_size=1))
    for item in task.val:
        kept = {name: item.extra[name] for name in ("starter", "tests")}
        made = row(answer=item.answer).model_copy(update={"question": item.question, "extra": kept})
        example = task.domain.example(made)
        assert example.prompt == task.domain.prompt(item)
        assert example.completion == task.domain.example(item).completion
        assert task.domain.read_back(item.answer, example.completion) == (item.answer, True)
