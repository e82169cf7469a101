"""Jinja2 templates that end: what a template writes and repeats is counted, up to a limit.

Templates are a person's own files, so that the limit is against mistakes: loops in loops, macros
that call themselves twice, texts that double. Not counted is what one filter does by itself.
"""

from collections.abc import Callable
from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame, MacroRef
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment, safe_range

MAX_WORK = 1 << 22
"""Most characters that a template writes."""
REPETITION = 64
"""Characters that one repetition or call counts as."""
MAX_BITS = 1 << 16
"""Largest product or power of whole numbers, in bits."""


class TooMuchWorkError(Exception):
    """A template writes or repeats too much."""

    def __init__(self) -> None:
        super().__init__(
            f"it writes and repeats more than {MAX_WORK} characters; look for loops in loops"
        )


class _CountingCode(CodeGenerator):
    """Writes the Python code of a template, which counts its repetitions and texts."""

    def visit_For(self, node: nodes.For, frame: Frame) -> None:  # noqa: N802
        node.body.insert(0, _counted(node))
        super().visit_For(node, frame)

    def macro_body(
        self, node: nodes.Macro | nodes.CallBlock, frame: Frame
    ) -> tuple[Frame, MacroRef]:
        node.body.insert(0, _counted(node))
        return super().macro_body(node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        self.visit(_call("concatenate", node.nodes), frame)


class BoundedEnvironment(SandboxedEnvironment):
    """A sandbox for one rendering, which ends when the template has written or repeated too much.

    Args:
        write: returns what is written for a value.
        options: options of Jinja2.
    """

    code_generator_class = _CountingCode
    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, write: Callable[[object], object], **options: Any) -> None:
        def counted(value: object) -> object:
            written = write(value)
            self.count(len(str(written)))
            return written

        super().__init__(finalize=counted, **options)
        self._left = MAX_WORK
        self.globals["range"] = self._range

    def count(self, work: int) -> None:
        """Count work, in characters.

        Raises:
            TooMuchWorkError: the limit is reached.
        """
        self._left -= work
        if self._left < 0:
            raise TooMuchWorkError

    def concatenate(self, *values: object) -> str:
        """Return the texts of values, joined."""
        text = "".join(map(str, values))
        self.count(len(text))
        return text

    def get_template(self, *args: Any, **options: Any) -> Any:
        """Return a template, which another one may include again and again."""
        self.count(REPETITION)
        return super().get_template(*args, **options)

    def call(*args: Any, **named: Any) -> Any:
        """Call a function or method for a template, and count what it returns."""
        environment: BoundedEnvironment = args[0]
        result = SandboxedEnvironment.call(*args, **named)
        environment.count(REPETITION + _size(result))
        return result

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Return the value of an operation, if that is of a reasonable size."""
        if isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length()
            if bits * right > MAX_BITS if operator == "**" else bits > MAX_BITS:
                raise TooMuchWorkError
        elif operator == "*":
            times, repeated = (left, right) if isinstance(left, int) else (right, left)
            self.count(_size(repeated) * max(times, 0) if isinstance(times, int) else 0)
        result = super().call_binop(context, operator, left, right)
        self.count(_size(result))
        return result

    def _range(self, *args: int) -> range:
        numbers = safe_range(*args)
        self.count(len(numbers))
        return numbers


def _call(method: str, arguments: list[nodes.Expr]) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(method), arguments, [], None, None)


def _counted(node: nodes.Node) -> nodes.ExprStmt:
    """Return a statement that counts a repetition of a node, and the text in it."""
    size = REPETITION + sum(len(text.data) for text in node.find_all(nodes.TemplateData))
    return nodes.ExprStmt(_call("count", [nodes.Const(size)]))


def _size(value: object) -> int:
    return len(value) if isinstance(value, str | bytes | list | tuple) else 0
