"""What a dataset says about programs: tests that run by themselves."""

import ast

from hogwild_dist.errors import ConfigError


def with_call(tests: str, entry_point: object) -> str:
    """Tests that define `check(candidate)`, as in HumanEval, with the call that they lack.

    Args:
        tests: of a dataset's line; what is no such program comes back as it is.
        entry_point: name of the function that is tested, if the line has one.

    Raises:
        ConfigError: nobody says which function is tested.
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
    """Whether tests do more than define; such would let every program pass.

    Raises:
        SyntaxError: they are no Python.
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
