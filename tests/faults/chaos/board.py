"""`Board`: what all processes of a trial know."""

import os
import time
from pathlib import Path

NEAR_ROUNDS, MOST_NEAR = 5, 2
"""Of so many rounds, so many may have a fault."""


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
        """Number of rounds whose updates were shown by the present driver."""
        return self._numbers()[0]

    @round.setter
    def round(self, number: int) -> None:
        os.pwrite(self._descriptor, number.to_bytes(8, "little"), 0)

    def begin(self) -> None:
        """Note that a driver starts."""
        following = self._numbers()[1] + 1
        os.pwrite(self._descriptor, (0).to_bytes(8, "little") + following.to_bytes(8, "little"), 0)

    def claim(self, number: int) -> bool:
        """Return whether a fault is to happen now, and note that it does.

        Of faults that would come one after the other without any progress, some wait: a group that
        loses all its shards three times in a row is given up.
        """
        if (self._folder / f"fault-{number}").exists():
            return False
        now, driver = self._numbers()
        places = (f"at-{driver}-{now // NEAR_ROUNDS}-{place}" for place in range(MOST_NEAR))
        if not any(self._create(place) for place in places):
            return False
        return self._create(f"fault-{number}", f"{time.monotonic()}")

    def _create(self, name: str, text: str = "") -> bool:
        """Create a file; return False if there is one."""
        try:
            with open(self._folder / name, "x") as file:
                file.write(text)
        except FileExistsError:
            return False
        return True

    def _numbers(self) -> tuple[int, int]:
        """Return the number of rounds, and that of the driver."""
        data = os.pread(self._descriptor, 16, 0)
        return int.from_bytes(data[:8], "little"), int.from_bytes(data[8:], "little")

    def times(self) -> dict[int, float]:
        """Return when each fault happened, by the machine's monotonic clock."""
        files = self._folder.glob("fault-*")
        return {int(file.name.split("-")[1]): float(file.read_text() or "nan") for file in files}

    def close(self) -> None:
        os.close(self._descriptor)
