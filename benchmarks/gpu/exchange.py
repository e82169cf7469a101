"""The exchange between shards on one device: NCCL with itself, and gloo between two processes.

NCCL refuses two ranks on one GPU, so its group has one rank, which sends to itself. On a CPU gloo
takes its place.
"""

import multiprocessing
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.settings import Rows, Settings
from benchmarks.gpu.shapes import SHAPES
from benchmarks.gpu.timing import device_milliseconds
from hogwild_dist.config import ExchangeBackend, Visibility
from hogwild_dist.errors import ExchangeError
from hogwild_dist.exchange import staging
from hogwild_dist.exchange.base import StepPlan, StepReport
from hogwild_dist.exchange.channels import Channels
from hogwild_dist.exchange.collectives import Collectives, ExchangeCounts
from hogwild_dist.exchange.process_group import Membership, form_group, pick_backend, serve_store
from hogwild_dist.exchange.stages import Shape, Stage, StagePool
from hogwild_dist.exchange.torch_dist import TorchDistExchange
from hogwild_dist.kvcache.cache import KVCache, LayerShape
from hogwild_dist.kvcache.rope import RotaryTables
from hogwild_dist.timeline import Timeline

HOST = "127.0.0.1"
TOKENS = (1, 4, 64)
"""New tokens of a rank: of one worker, of four, of long first texts."""

CACHE_TOKENS = 1_024


def exchange(settings: Settings) -> Rows:
    """Milliseconds of a step's exchange, and whether the bytes that were sent arrive."""
    yield from guarded("one process with itself", partial(one_with_itself, settings))
    yield from guarded("gloo", partial(gloo_between_two, settings))


def guarded(what: str, rows: Callable[[], Rows]) -> Rows:
    """Yield rows; an error is a row too, and the next measurement follows."""
    try:
        yield from rows()
    except Exception as error:
        yield {"error": f"{what}: {type(error).__name__}: {error}"[:500]}


def one_with_itself(settings: Settings) -> Rows:
    """Send K and V to this rank, into other slots, and compare; then abort the group."""
    store = serve_store(HOST)
    backend = pick_backend(None, settings.device)
    channels = form(store.port, 1, 0, 1, settings, backend)
    echo = Echo(channels, random_cache(settings), settings.device)
    for count in TOKENS:
        source = torch.arange(count, device=settings.device)
        target = source + CACHE_TOKENS // 2
        for name, step in (("all layers at once", echo.at_once), ("by layer", echo.by_layer)):
            for slab in echo.slabs:
                slab[:, target] = 0
            _, milliseconds = device_milliseconds(
                partial(step, source, target), settings.device, rounds=20
            )
            same = all(torch.equal(slab[:, source], slab[:, target]) for slab in echo.slabs)
            what = f"{backend.value} with itself, {name}"
            yield row(what, count, echo.cache, milliseconds, same)
    if channels.tensors.on_stream:
        channels.tensors.group.abort()
        refused = False
        try:
            echo.at_once(source, target)
        except ExchangeError:
            refused = True
        yield row("a step after an abort, refused", 0, echo.cache, 0.0, refused)


class Echo:
    """A rank that is its own peer.

    Args:
        channels: channels of a group of one.
        cache: K and V to send and to receive.
        device: device of the cache.
    """

    def __init__(self, channels: Channels, cache: KVCache, device: torch.device) -> None:
        self.cache = cache
        self.slabs = (*cache.keys, *cache.values)
        self._channel = channels.tensors
        self._collectives = Collectives(channels, 1, Timeline(), ExchangeCounts())
        self._pool = StagePool(cache, 0, (0,), device)
        self._layers = range(len(cache.keys))

    def at_once(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """Copy all layers from slots to slots, in one collective."""
        stage = self._stage(source, self._layers)
        staging.pack(self.cache, self._layers, source, stage.mine)
        self._collectives.finish(self._collectives.send(self._channel, stage, "a step"))
        staging.unpack(self.cache, self._layers, target, stage.parts[0])
        self._pool.give_back(stage)

    def by_layer(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """Copy layer by layer, with the host ahead of the device."""
        stage = self._stage(source, self._layers[:1])
        for layer in self._layers:
            staging.pack(self.cache, (layer,), source, stage.mine)
            self._collectives.wait(self._collectives.send(self._channel, stage, f"layer {layer}"))
            staging.unpack(self.cache, (layer,), target, stage.parts[0])
        self._collectives.catch_up()
        self._pool.give_back(stage)

    def _stage(self, source: torch.Tensor, layers: range) -> Stage:
        stage = self._pool.take(Shape((0,), (len(source),), layers))
        assert stage is not None
        return stage


def gloo_between_two(settings: Settings) -> Rows:
    """Play steps in two processes that share the device."""
    store = serve_store(HOST)
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for rank in range(2):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=play, args=(store.port, rank, settings, theirs))
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    try:
        first, second = ([*pipe.recv()] for pipe in pipes)
    finally:
        for process in processes:
            process.join(20)
            process.kill()
    for one, other in zip(first, second, strict=True):
        yield {**one, "ok": one["ok"] and other["ok"]} if "ok" in one and "ok" in other else one


def play(port: int, rank: int, settings: Settings, pipe: Any) -> None:
    """Run one process, and send its rows."""
    if settings.device.type == "cuda":
        torch.cuda.set_device(settings.device)
    rows = []
    for epoch, visibility in enumerate((Visibility.SAME_STEP, Visibility.NEXT_STEP)):
        steps = partial(play_steps, port, epoch, rank, settings, visibility)
        rows += list(guarded(f"gloo, {visibility.value}", steps))
    pipe.send(rows)


def play_steps(
    port: int, epoch: int, rank: int, settings: Settings, visibility: Visibility
) -> Rows:
    """Exchange slots in which both caches hold the same values, after this one has lost them."""
    channels = form(port, epoch, rank, 2, settings, ExchangeBackend.GLOO)
    cache, right = random_cache(settings), random_cache(settings)
    ours = TorchDistExchange(channels, cache, visibility, epoch)
    for count in TOKENS:
        slots = [tuple(range(r * count, (r + 1) * count)) for r in range(2)]
        plan = StepPlan(tuple(slots), (0, 0), (0, 0))
        for slab in (*cache.keys, *cache.values):
            slab[:, slots[1 - rank]] = 0

        def step(plan: StepPlan = plan) -> None:
            ours.begin(plan)
            if visibility is Visibility.SAME_STEP:
                for layer in range(len(cache.keys)):
                    ours.send_layer(layer)
                    ours.receive_layer(layer)
            ours.post(StepReport(1, 0, 0, ()))
            ours.collect()

        _, milliseconds = device_milliseconds(step, settings.device, rounds=20)
        slabs = zip((*cache.keys, *cache.values), (*right.keys, *right.values), strict=True)
        same = all(torch.equal(mine, expected) for mine, expected in slabs)
        yield row(f"gloo, two processes, {visibility.value}", count, cache, milliseconds, same)


def form(
    port: int, epoch: int, rank: int, world_size: int, settings: Settings, backend: ExchangeBackend
) -> Channels:
    """Form a group on this machine."""
    place = Membership(
        epoch=epoch, rank=rank, world_size=world_size, store_host=HOST, store_port=port
    )
    return form_group(place, settings.device, HOST, backend)


def random_cache(settings: Settings) -> KVCache:
    """Return a cache full of random K and V, the same in every process."""
    shape = SHAPES["tiny" if settings.tiny else "Qwen3-8B"]
    frequencies = torch.ones(shape.head_dim // 2, dtype=torch.float64, device=settings.device)
    cache = KVCache(
        layers=(LayerShape(num_kv_heads=shape.kv_heads, head_dim=shape.head_dim),) * shape.layers,
        num_tokens=CACHE_TOKENS,
        rotary=RotaryTables(inv_freq=(frequencies,), table_of_layer=(0,) * shape.layers),
        dtype=settings.dtype,
        device=settings.device,
    )
    torch.manual_seed(0)
    for slab in (*cache.keys, *cache.values):
        slab.normal_()
    return cache


def row(what: str, count: int, cache: KVCache, milliseconds: float, ok: bool) -> dict[str, Any]:
    """Return a row of the table."""
    size = count * cache.token_bytes
    return {"what": what, "tokens": count, "bytes": size, "ms": round(milliseconds, 3), "ok": ok}
