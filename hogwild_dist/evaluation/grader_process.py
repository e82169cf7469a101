"""The script of a grader process; its arguments are a grader kind and the handle of a pipe."""

import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path


def main(kind: str, handle: str) -> None:
    """Report readiness, then grade until the other side closes the pipe."""
    sys.path.insert(0, str(Path(__file__).parents[2]))  # the package of the parent process
    from hogwild_dist.evaluation.graders import GRADERS, warm_up  # noqa: PLC0415
    from hogwild_dist.evaluation.grading import GraderError, GraderKind  # noqa: PLC0415

    pipe: Connection = Connection(int(handle))
    grader = GraderKind(kind)
    warm_up(grader)
    pipe.send(None)
    with suppress(EOFError, OSError):
        while True:
            answer, known = pipe.recv()
            try:
                pipe.send(GRADERS[grader](answer, known))
            except GraderError as error:
                pipe.send(str(error))
            except Exception as error:  # parsers may raise anything on a model's text
                pipe.send(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
