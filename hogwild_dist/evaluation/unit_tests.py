"""Unit tests of a dataset, completed so that they can be run after a program."""

import ast

from hogwild_dist.errors import ConfigError


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


def tests_something(tests: str) -> bool:
    """Return whether tests run anything; tests that only define things pass every program.

    Raises:
        SyntaxError: the tests are not valid Python.
    """
    return any(
        isinstance(node, ast.Call | ast.Assert | ast.Raise)
        for statement in ast.parse(tests).body
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for node in ast.walk(statement)
    )


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
