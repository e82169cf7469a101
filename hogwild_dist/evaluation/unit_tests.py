"""Unit tests of a dataset, completed so that they can be run after a program."""

import ast
from collections.abc import Iterator

from hogwild_dist.errors import ConfigError
from hogwild_dist.evaluation.grading import GraderError

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_UNITTEST_RUNNERS = {"TextTestRunner", "TestLoader", "TestSuite", "defaultTestLoader", "makeSuite"}


def with_call(tests: str, entry_point: object) -> str:
    """Add the missing call to tests that only define `check(candidate)`, as in HumanEval.

    Args:
        tests: tests of one item; any other text is returned unchanged.
        entry_point: name of the tested function, or None.

    Raises:
        ConfigError: the call is missing and the tested function is not named.
    """
    check = _uncalled_check(tests)
    if check is None:
        return tests
    if not check.args.args:
        return f"{tests}\n\ncheck()\n"
    if isinstance(entry_point, str) and entry_point.isidentifier():
        return f"{tests}\n\ncheck({entry_point})\n"
    raise ConfigError(
        "its tests define check(candidate) and do not call it; name the tested function under "
        "'entry_point', or add the call to the tests."
    )


def with_runner(tests: str) -> str:
    """Add the missing calls to tests that a runner such as pytest would find.

    Functions `test_*` that the tests do not name are called, as are such methods of classes
    `Test*`; `unittest.main()` runs the test cases that nothing runs.

    Raises:
        GraderError: tests require pytest itself.
        SyntaxError: the tests are not valid Python.
    """
    module = ast.parse(tests)
    if any(_dotted(node) == "pytest.main" for node in ast.walk(module)):
        raise GraderError(
            "the known tests call pytest.main, which is not supported; leave the call out, and "
            "the test functions are called"
        )
    named = set(_named(module))
    calls = [call for one in module.body for call in _missing_calls(one, named)]
    if _has_idle_cases(module, named):
        calls += ["import unittest", "unittest.main()"]
    return "\n".join([tests, "", *calls, ""]) if calls else tests


def tests_something(tests: str) -> bool:
    """Return whether tests run anything; tests that only define things pass every program.

    Raises:
        SyntaxError: the tests are not valid Python.
    """
    module = ast.parse(tests)
    runs = any(
        isinstance(node, ast.Call | ast.Assert | ast.Raise)
        for statement in module.body
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for node in ast.walk(statement)
    )
    return runs and not (_runs_unittest(module) and not _defines_tests(module))


def _uncalled_check(tests: str) -> ast.FunctionDef | None:
    if "def check(" not in tests:
        return None
    try:
        body = ast.parse(tests).body
    except (SyntaxError, ValueError):
        return None
    found = None
    for statement in body:
        if isinstance(statement, ast.FunctionDef):
            found = statement if statement.name == "check" else found
        elif not isinstance(statement, ast.ClassDef) and _calls_check(statement):
            return None
    return found


def _calls_check(statement: ast.stmt) -> bool:
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "check"
        for node in ast.walk(statement)
    )


def _missing_calls(statement: ast.stmt, named: set[str]) -> Iterator[str]:
    """Yield the calls of the tests that a statement defines and nothing names."""
    if isinstance(statement, _Function) and _is_test(statement, named):
        _check_callable(statement, 0)
        yield f"{statement.name}()"
    if not isinstance(statement, ast.ClassDef) or statement.bases or statement.name in named:
        return
    methods = [one for one in statement.body if isinstance(one, _Function)]
    tested = [one for one in methods if one.name.startswith("test_")]
    if not statement.name.startswith("Test") or not tested:
        return
    for one in methods:
        if one.name.startswith(("setup", "teardown", "__init__")):
            raise GraderError(
                f"the known tests define {statement.name}.{one.name}, which only pytest calls; "
                f"call {statement.name} in the tests, or make it a unittest.TestCase"
            )
    for one in tested:
        _check_callable(one, 1)
        yield f"{statement.name}().{one.name}()"


def _is_test(function: _Function, named: set[str]) -> bool:
    return function.name.startswith("test_") and function.name not in named


def _check_callable(function: _Function, num_given: int) -> None:
    """Check that a test can be called with that many arguments and is not changed by pytest."""
    args = function.args
    required = len(args.posonlyargs + args.args) - len(args.defaults) - num_given
    required += sum(default is None for default in args.kw_defaults)
    marks = [node for one in function.decorator_list for node in ast.walk(one)]
    if (
        required > 0
        or isinstance(function, ast.AsyncFunctionDef)
        or any(
            isinstance(node, ast.Name) and node.id in ("pytest", "staticmethod") for node in marks
        )
    ):
        raise GraderError(
            f"the known tests define {function.name}, which only pytest can run; call it in the "
            "tests with its arguments"
        )


def _has_idle_cases(module: ast.Module, named: set[str]) -> bool:
    """Return whether tests define a test case of unittest and nothing that runs it."""
    cases: set[str] = set()
    for one in module.body:
        if isinstance(one, ast.ClassDef):
            bases = {getattr(base, "attr", getattr(base, "id", "")) for base in one.bases}
            if bases & cases or any(base.endswith("TestCase") for base in bases):
                cases.add(one.name)
    return bool(cases - named) and not _runs_unittest(module)


def _runs_unittest(module: ast.Module) -> bool:
    """Return whether tests start a runner of unittest."""
    imported = any(
        isinstance(one, ast.ImportFrom)
        and one.module == "unittest"
        and any(name.name in ("main", "*") for name in one.names)
        for one in module.body
    )
    names = set(_named(module))
    return (
        bool(names & _UNITTEST_RUNNERS)
        or (imported and "main" in names)
        or any(_dotted(node) == "unittest.main" for node in ast.walk(module))
    )


def _defines_tests(module: ast.Module) -> bool:
    """Return whether a module defines a function that a runner takes for a test, or wraps one."""
    names = {node.name for node in ast.walk(module) if isinstance(node, _Function)}
    wrapped = {"FunctionTestCase", "DocTestSuite"} & set(_named(module))
    return bool(wrapped) or any(name.startswith("test") or name == "runTest" for name in names)


def _named(module: ast.Module) -> Iterator[str]:
    """Yield the names that tests use, also in a text such as globals()["test_f"]."""
    for node in ast.walk(module):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _dotted(node: ast.AST) -> str:
    """Return a name with its module, as in unittest.main; empty if it is something else."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""
