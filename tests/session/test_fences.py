"""Code blocks, against a parser of CommonMark and in the forms that models write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from hogwild_dist.session.answer_readers import CodeReader
from hogwild_dist.session.fences import FenceReader, code_blocks


def answers(text: str, size: int = 1) -> list[str]:
    """Return the programs that are found while a text is written in pieces of one size."""
    found, reader = [], CodeReader()
    for begin in range(0, len(text), size):
        piece = text[begin : begin + size]
        found.append(reader.read(text[: begin + len(piece)], len(piece)))
    return [answer for answer in found if answer is not None]


def test_markdown_in_markdown_is_searched_to_a_limited_depth() -> None:
    (program,) = answers("```a\n" * 3000 + "```", 20_000)
    assert program == "```a\n" * 2991


def test_a_long_line_closes_no_block() -> None:
    assert code_blocks("```\n" + "`" * 1000)[0].closed_at is not None
    assert code_blocks("```\n" + "`" * 1001)[0].closed_at is None


PIECES = ["```", "~~~~", "`", "~", "\n", "\n\n", "> ", "- ", " ", "\t", "x = 1.", "md", "````"]


@given(st.lists(st.sampled_from(PIECES), max_size=40), st.integers(1, 7))
def test_lines_read_in_pieces_give_the_blocks_of_the_whole_text(
    pieces: list[str], size: int
) -> None:
    text = "".join(pieces) + "\n"
    reader = FenceReader()
    for end in (*range(0, len(text), size), len(text)):
        reader.read(text[:end])
    assert reader.blocks == code_blocks(text[:-1])


CONTENT = ["def g(n):", "    return n", "", "\ttab", "> quoted", "- item", "``", "`` ` ``", "```py"]


@given(
    run=st.sampled_from(["```", "````", "~~~", "~~~~~"]),
    info=st.sampled_from(["", "python", "py x=1"]),
    mark=st.sampled_from(["", " ", "   ", "- ", "1. ", "12) ", "> ", "> > ", " *  "]),
    content=st.lists(st.sampled_from([*CONTENT, "~~~", "```", "      ~~~~"]), min_size=1),
    end=st.booleans(),
)
def test_well_formed_blocks_are_those_of_commonmark(
    run: str, info: str, mark: str, content: list[str], end: bool
) -> None:
    rest = mark if ">" in mark else " " * len(mark)
    lines = [f"{mark}{run}{info}", *[rest + line for line in content], *[rest + run] * end]
    text = "\n".join(lines)
    expected = next(token for token in MarkdownIt().parse(text) if token.type == "fence")
    block = code_blocks(text)[0]
    assert (block.info, block.content.rstrip("\n")) == (
        expected.info.strip(),
        expected.content.rstrip("\n"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "1. Compute it:\n   ```python\n   def g(n):\n       return n * 3\n   ```\n",
        "1. Compute it:\n\n    ```python\n    def g(n):\n        return n * 3\n    ```\n",
        "- ```python\n  def g(n):\n      return n * 3\n  ```\n",
        "- ```python\ndef g(n):\n    return n * 3\n```\n",
        "  - Run:\n\n        ```\n        def g(n):\n            return n * 3\n        ```\n",
        "1. Compute it:\n\t```python\n\tdef g(n):\n\t    return n * 3\n\t```\n",
        "1. Compute it:\n   ```python\ndef g(n):\n    return n * 3\n```\n",
        "> So:\n> ```python\n> def g(n):\n>     return n * 3\n> ```\n",
        "   ```python\n   def g(n):\n       return n * 3\n  ```\n",
        "````python\ndef g(n):\n    return n * 3\n````\n",
        "```python\ndef g(n):\n    return n * 3\n`````\n",
        "~~~python\ndef g(n):\n    return n * 3\n~~~\n",
        "~~~ python `x`\ndef g(n):\n    return n * 3\n~~~\n",
        "```python\r\ndef g(n):\r\n    return n * 3\r\n```\r\n",
        "**A [3]:** ```python\ndef g(n):\n    return n * 3\n```\n",
        "````markdown\nThe program:\n\n```python\ndef g(n):\n    return n * 3\n```\n````\n",
        "~~~md\n```python\ndef g(n):\n    return n * 3\n```\n~~~\n",
        "````\n```python\ndef g(n):\n    return n * 3\n```\n````\n",
        "```markdown\n```python\ndef g(n):\n    return n * 3\n```\n",
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_a_program_is_found_however_it_is_fenced(text: str, size: int) -> None:
    (program,) = answers(text, size)
    names: dict[str, object] = {}
    exec(f"{program}\nvalue = g(5)", names)
    assert names["value"] == 15


@pytest.mark.parametrize(
    ("outer", "inner"), [("````", "```"), ("~~~", "```"), ("```", "~~~"), ("~~~~", "~~~")]
)
@pytest.mark.parametrize("indent", ["", "   "])
def test_a_fence_in_a_program_does_not_end_it(outer: str, inner: str, indent: str) -> None:
    program = f'def g(n):\n    """Triple n.\n\n{inner}\ng(1)\n{inner}\n    """\n    return n * 3\n'
    text = "".join(f"{indent}{line}\n" for line in [f"{outer}py", *program.splitlines(), outer])
    assert [answer.replace("\n\n", "\n") for answer in answers(text)] == [
        program.replace("\n\n", "\n")
    ]


def test_an_indented_fence_in_a_docstring_does_not_end_a_program() -> None:
    program = 'def g(n):\n    """Triple.\n\n    ```\n    g(1)\n    ```\n    """\n    return n * 3\n'
    assert answers(f"```python\n{program}```\n") == [program]


def test_a_closing_fence_is_found_once_with_what_follows() -> None:
    assert answers("```\nx = 1\n```  \nSo. ```\n", 4) == ["x = 1\n"]
    assert CodeReader().read("```\nx = 1\n```\nSo", 6) == "x = 1\n"
    assert answers("```\n \n```\n") == []
