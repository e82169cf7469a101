"""Programs in answers, and what a prompt gives a program to start from."""

import ast
import re
import textwrap
import warnings
from collections.abc import Iterable

from hogwild_dist.session.fences import code_blocks, program

_IMPORT = re.compile(
    r"^(?:import[ \t]+[\w., \t]+|from[ \t]+[\w.]+[ \t]+import[ \t]+(?:\([^()]*\)|[\w., \t*]+))$",
    re.MULTILINE,
)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def program_text(answer: str) -> str:
    """Return the program of an answer that is one, or that fences or indents it."""
    blocks = [program(block) for block in code_blocks(answer)]
    choices = [answer, *reversed([block for block in blocks if block.strip()])]
    for choice in choices:
        for text in (choice, textwrap.dedent(choice)):
            if parsed(text) is not None:
                return text
    return answer


def preamble(prompt: str, entry_point: object) -> tuple[str, ...]:
    """Return the statements of a prompt that a program may rely on without repeating them.

    They are the imports, constants and definitions beside the function to be written; of a prompt
    in prose, the lines that import, and the code blocks.

    Args:
        prompt: question of one item.
        entry_point: name of the function to be written; without it, the last one is.
    """
    found: list[ast.stmt] = []
    for source in (prompt, *(block.content for block in code_blocks(prompt))):
        module = parsed(source) or parsed(f"{source.rstrip()}\n    pass\n")
        if module is not None:
            found += _given(module.body, entry_point)
    if found:
        return tuple(map(ast.unparse, found))
    lines = [match[0] for match in _IMPORT.finditer(prompt)]
    return tuple(line for line in lines if parsed(line) is not None)


def statements(source: object) -> tuple[str, ...]:
    """Return the statements of a source text or a list of them; none if it is something else."""
    text = "\n".join(map(str, source)) if isinstance(source, list) else source
    module = parsed(text) if isinstance(text, str) else None
    return tuple(map(ast.unparse, module.body)) if module is not None else ()


def parsed(source: str) -> ast.Module | None:
    """Return the syntax tree of a source text, or None if it is no Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about \\( in prose, and the like
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _given(body: Iterable[ast.stmt], entry_point: object) -> list[ast.stmt]:
    names = [one.name for one in body if isinstance(one, _DEFINITIONS)]
    wanted = entry_point if entry_point in names else names[-1:][0] if names else None
    return [
        one
        for one in body
        if isinstance(one, ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign | ast.Try)
        or (isinstance(one, _DEFINITIONS) and one.name != wanted)
    ]
