"""`Board`: what all processes of a trial know."""

import os
import time
from pathlib import Path


class Board:
    """How far a trial is, and which of its faults have happened: each happens once.

    Args:
        folder: folder of the trial.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = os.open(folder / "round", os.O_RDWR | os.O_CREAT)

    @property
    def round(self) -> int:
        """Number of rounds whose updates were shown; 0 at first, and after a new start."""
        return int.from_bytes(os.pread(self._descriptor, 8, 0), "little")

    @round.setter
    def round(self, number: int) -> None:
        os.pwrite(self._descriptor, number.to_bytes(8, "little"), 0)

    def claim(self, number: int) -> bool:
        """Return whether a fault is still to happen, and note that it happens now."""
        try:
            with open(self._folder / f"fault-{number}", "x") as file:
                file.write(f"{time.monotonic()}")
        except FileExistsError:
            return False
        return True

    def times(self) -> dict[int, float]:
        """Return when each fault happened, by the machine's monotonic clock."""
        files = self._folder.glob("fault-*")
        return {int(file.name.split("-")[1]): float(file.read_text() or "nan") for file in files}

    def close(self) -> None:
        os.close(self._descriptor)
