"""The script of a grader process; its arguments are a grader kind and the handle of a pipe."""

import resource
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

MEMORY_BYTES = 2 << 30
"""Limit of the process, which a model's text must not exceed."""
NUM_DIGITS = 100_000
"""Most digits of an integer that is read or written."""


def main(kind: str, handle: str) -> None:
    """Report readiness, then grade until the other side closes the pipe."""
    sys.path.insert(0, str(Path(__file__).parents[2]))  # the package of the parent process
    from hogwild_dist.evaluation.graders import GRADERS, warm_up  # noqa: PLC0415
    from hogwild_dist.evaluation.grading import GraderError, GraderKind  # noqa: PLC0415
    from hogwild_dist.evaluation.sandbox import adopt_orphans, end_descendants  # noqa: PLC0415

    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    sys.set_int_max_str_digits(NUM_DIGITS)
    pipe: Connection = Connection(int(handle))
    grader = GraderKind(kind)
    warm_up(grader)
    adopt_orphans()
    pipe.send(None)
    with suppress(EOFError, OSError):
        while True:
            arguments = pipe.recv()
            try:
                pipe.send(GRADERS[grader](*arguments))
            except GraderError as error:
                pipe.send(str(error))
            except Exception as error:  # parsers may raise anything on a model's text
                pipe.send(f"{type(error).__name__}: {error}")
            end_descendants()


if __name__ == "__main__":
    main(*sys.argv[1:])
