"""Comparisons in tests, which a value that equals everything does not pass.

The process of a trial runs this file, so that it imports nothing of the package.
"""

import ast
from contextlib import suppress
from itertools import chain
from secrets import randbits, token_hex
from types import CodeType
from typing import Any

_PLAIN = (int, float, complex, str, bytes, bool, type(None))
_MAX_DEPTH = 20
_CHECKED = "__checked__"


def compiled(tests: str, names: dict[str, Any]) -> CodeType:
    """Return tests as code that looks at values before it compares them.

    Args:
        tests: source code.
        names: names of the tests, which receive one more.
    """
    allowed = "unittest.mock" if "ANY" in tests else None  # the tests themselves may expect ANY

    def checked(value: object) -> object:
        if _equals_everything(value, allowed):
            raise AssertionError("a value equals everything")
        return value

    names[_CHECKED] = checked
    tree = _Checking().visit(ast.parse(tests))
    return compile(ast.fix_missing_locations(tree), "tests.py", "exec")


class _Checking(ast.NodeTransformer):
    """Puts a call around what `==`, `in` and methods such as assertEqual compare."""

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if any(isinstance(one, ast.Eq | ast.In) for one in node.ops):
            node.left = _checked(node.left)
            node.comparators = [_checked(one) for one in node.comparators]
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr.startswith("assert"):
            node.args = [
                one if isinstance(one, ast.Starred) else _checked(one) for one in node.args
            ]
        return node


def _checked(value: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(_CHECKED, ast.Load()), [value], [])


def _equals_everything(value: object, allowed: str | None, depth: int = 0) -> bool:
    """Return whether a value, or one in it, equals what nobody could expect."""
    kind = type(value)
    if kind in _PLAIN or depth > _MAX_DEPTH:
        return False
    if isinstance(value, list | tuple | set | frozenset | dict) and kind.__module__ == "builtins":
        parts = chain(value, value.values() if isinstance(value, dict) else ())
        return any(_equals_everything(one, allowed, depth + 1) for one in parts)
    if kind.__module__ == allowed:
        return False
    number, text = randbits(62), token_hex()
    strangers = (object(), number, -number / 3, text, [text], (text,), {text: text})
    return any(_equals(value, one) for one in strangers) or (
        _equals(value, True) and _equals(value, False)
    )


def _equals(value: object, other: object) -> bool:
    with suppress(Exception):
        return bool(value == other)
    return False
