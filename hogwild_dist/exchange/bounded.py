"""Jobs that may never return, or not soon."""

import threading
from collections.abc import Callable
from concurrent.futures import Future


def let_go(held: list[object]) -> None:
    """Drop objects in a thread of its own: a process group that lost a peer may block for seconds.

    Args:
        held: the objects, of which there are no other references.
    """
    threading.Thread(target=held.clear, daemon=True).start()


def within(seconds: float, job: Callable[[], object]) -> None:
    """Run a job in a thread of its own, which is left behind if it does not end in time.

    Args:
        seconds: time limit, in seconds.
        job: the job; whatever it raises is raised here.

    Raises:
        TimeoutError: the job has not ended in time.
    """
    ended: Future[None] = Future()

    def run() -> None:
        try:
            job()
        except BaseException as error:
            ended.set_exception(error)
        else:
            ended.set_result(None)

    threading.Thread(target=run, daemon=True).start()
    try:
        ended.result(seconds)
    except TimeoutError as error:
        raise TimeoutError(f"no end within {seconds:g} s") from error
