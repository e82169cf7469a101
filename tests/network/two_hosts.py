"""Two hosts on one machine: network namespaces joined by a veth pair, with a Ray node in each.

    sudo env PATH=$PATH python -m tests.network.two_hosts          # prints a table
    sudo env PATH=$PATH python -m tests.network.two_hosts --rates 20mbit

Each visibility writes the same text over an open link and over slow ones (`tc tbf` at both ends),
two workers on two shards with one thread each. Everything it makes is named ``hw-<pid>-...`` and
removed in the end.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.paths import ROOT

ADDRESSES = ("10.77.0.1", "10.77.0.2")
PORT = 6399
VISIBILITIES = ("same-step", "next-step", "overlapped")
PROBLEM = "Compare trains and planes for a trip of 500 km."


@dataclass(frozen=True, slots=True)
class Played:
    """One run between the two hosts."""

    nodes: tuple[str, ...]
    texts: dict[str, str]
    milliseconds: float


def obstacle() -> str | None:
    """Why namespaces cannot be made here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [tool for tool in ("ip", "tc") if shutil.which(tool) is None]
    if missing:
        return f"{missing[0]} is not installed (iproute2)"
    name = f"hw-{os.getpid()}-try"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    if tried.returncode:
        return f"no namespace can be made: {tried.stderr.decode().strip()}"
    call("ip", "netns", "del", name)
    return None


class TwoHosts:
    """Both namespaces, the link and the Ray nodes; leave the ``with`` block to remove them."""

    def __init__(self) -> None:
        self._names = [f"hw-{os.getpid()}-{host}" for host in (0, 1)]
        self._links = [f"hw{os.getpid()}v{host}" for host in (0, 1)]
        self._stack = ExitStack()

    def __enter__(self) -> "TwoHosts":
        try:
            for name in self._names:
                call("ip", "netns", "add", name)
                self._stack.callback(call, "ip", "netns", "del", name)
            call("ip", "link", "add", self._links[0], "type", "veth", "peer", self._links[1])
            for name, link, address in zip(self._names, self._links, ADDRESSES, strict=True):
                call("ip", "link", "set", link, "netns", name)
                self.inside(name, "ip", "addr", "add", f"{address}/24", "dev", link)
                self.inside(name, "ip", "link", "set", link, "up")
                self.inside(name, "ip", "link", "set", "lo", "up")
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="hw")))
            self._environment = {
                **os.environ,
                "RAY_AUTH_MODE": "disabled",
                "HOME": str(folder),
                "HOGWILD_CACHE": str(cache_folder()),
                "PYTHONPATH": str(ROOT),
            }
            head = ["--head", f"--port={PORT}", "--include-dashboard=false"]
            head += [f"--temp-dir={folder}/ray"]
            for host, start in enumerate((head, [f"--address={ADDRESSES[0]}:{PORT}"])):
                self._stack.enter_context(self._node(host, start))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def limit(self, rate: str | None) -> None:
        """Limit the link at both ends; None opens it."""
        for name, link in zip(self._names, self._links, strict=True):
            old = ["ip", "netns", "exec", name, "tc", "qdisc", "del", "dev", link, "root"]
            subprocess.run(old, capture_output=True, check=False)
            if rate is not None:
                words = ("rate", rate, "burst", "8kb", "latency", "400ms")
                self.inside(name, "tc", "qdisc", "add", "dev", link, "root", "tbf", *words)

    def play(self, visibility: str, num_tokens: int, *options: str) -> Played:
        """A run on both hosts, started in the first one."""
        with tempfile.TemporaryDirectory() as folder:
            trace, timeline = Path(folder) / "t.json", Path(folder) / "l.json"
            self.inside(
                self._names[0],
                sys.executable, "-m", "hogwild_dist.deploy.cli.app", "run", PROBLEM,
                "--workers", "2", "--shards", "2", "--spread", "spread", "--threads", "1",
                "--address", f"{ADDRESSES[0]}:{PORT}", "--visibility", visibility,
                "--max-tokens", str(num_tokens), "--json", "--trace", str(trace),
                "--timeline", str(timeline), *options,
            )  # fmt: skip
            raw = json.loads(trace.read_text())
            steps = [step["seconds"] for step in raw["steps"]][3:]
        status = self.inside(self._names[0], sys.executable, "-c", LIST_NODES)
        return Played(
            nodes=tuple(sorted(status.split())),
            texts=dict(zip(raw["workers"], raw["final"]["text"], strict=True)),
            milliseconds=1_000 * sum(steps) / len(steps),
        )

    def inside(self, name: str, *words: str) -> str:
        """Run a command in a namespace."""
        return call("ip", "netns", "exec", name, *words, environment=self.environment)

    @property
    def environment(self) -> dict[str, str]:
        """Of the commands: no tokens, a home and a cache of their own."""
        return getattr(self, "_environment", dict(os.environ))

    @contextmanager
    def _node(self, host: int, start: list[str]) -> Iterator[None]:
        """A Ray node that lives as long as the block."""
        ray = str(Path(sys.executable).with_name("ray"))
        words = [ray, "start", "--block", f"--node-ip-address={ADDRESSES[host]}", "--num-cpus=1"]
        words += ["--object-store-memory=100000000", *start]
        node = subprocess.Popen(
            ["ip", "netns", "exec", self._names[host], *words],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._wait_for_nodes(host + 1)
            yield
        finally:
            node.terminate()
            node.wait(30)

    def _wait_for_nodes(self, count: int) -> None:
        late = time.monotonic() + 60
        while time.monotonic() < late:
            with suppress(subprocess.CalledProcessError):
                if (
                    len(self.inside(self._names[0], sys.executable, "-c", LIST_NODES).split())
                    >= count
                ):
                    return
            time.sleep(0.5)
        raise RuntimeError(f"Ray has not {count} nodes after 60 s")


LIST_NODES = f"""
import ray
ray.init(address="{ADDRESSES[0]}:{PORT}", logging_level="ERROR", log_to_driver=False)
print(*(node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]))
"""


def cache_folder() -> Path:
    """The model cache of whoever started this."""
    from hogwild_dist.environment import cache_dir  # noqa: PLC0415  # the script runs without it too

    return cache_dir()


def call(*words: str, environment: dict[str, str] | None = None) -> str:
    """Run a command; its output."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        print(done.stderr[-2_000:], file=sys.stderr)
        done.check_returncode()
    return done.stdout


def main() -> None:
    """Print a table of all visibilities over all links."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", nargs="*", default=["50mbit", "10mbit"])
    parser.add_argument("--tokens", type=int, default=40)
    options = parser.parse_args()
    why = obstacle()
    if why is not None:
        sys.exit(f"two_hosts: {why}")
    print(f"{'link':>10}  {'visibility':<11}  ms/step  nodes")
    with TwoHosts() as hosts:
        for rate in (None, *options.rates):
            hosts.limit(rate)
            for visibility in VISIBILITIES:
                played = hosts.play(visibility, options.tokens)
                line = f"{rate or 'open':>10}  {visibility:<11}  {played.milliseconds:7.1f}"
                print(f"{line}  {' '.join(played.nodes)}", flush=True)


if __name__ == "__main__":
    main()
