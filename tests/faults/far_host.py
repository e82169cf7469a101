"""`FarHost`: a second address on this machine, behind a link that can be slow or cut."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.faults.processes import Home
from tests.network.two_hosts import call

NEAR, FAR = "10.78.0.1", "10.78.0.2"


class FarHost:
    """A network namespace.

    Attributes:
        home: where a shard lives in it.
    """

    def __init__(self) -> None:
        self._name, self._link = f"hf-{os.getpid()}", f"hf{os.getpid()}"
        self.home = Home(FAR, f"/var/run/netns/{self._name}")

    def cut(self) -> None:
        """Let nothing through, without telling anybody."""
        self._inside("ip", "link", "set", f"{self._link}b", "down")

    def slow_down(self) -> None:
        """Let 2 Mbit a second through."""
        slow = ("tbf", "rate", "2mbit", "burst", "8kb", "latency", "400ms")
        self._inside("tc", "qdisc", "add", "dev", f"{self._link}b", "root", *slow)

    def _inside(self, *words: str) -> None:
        call("ip", "netns", "exec", self._name, *words)

    @contextmanager
    def up(self) -> Iterator["FarHost"]:
        """Make the namespace and the link, and remove both after the block."""
        ends = f"{self._link}a", f"{self._link}b"
        with ExitStack() as stack:
            call("ip", "netns", "add", self._name)
            stack.callback(call, "ip", "netns", "del", self._name)
            call("ip", "link", "add", ends[0], "type", "veth", "peer", ends[1])
            stack.callback(
                subprocess.run, ["ip", "link", "del", ends[0]], capture_output=True, check=False
            )
            call("ip", "link", "set", ends[1], "netns", self._name)
            call("ip", "addr", "add", f"{NEAR}/24", "dev", ends[0])
            call("ip", "link", "set", ends[0], "up")
            self._inside("ip", "addr", "add", f"{FAR}/24", "dev", ends[1])
            self._inside("ip", "link", "set", ends[1], "up")
            self._inside("ip", "link", "set", "lo", "up")
            yield self
