"""The interface of a kernel that attends as tables say."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from hogwild_dist.attention.backend import ScoreRule

if TYPE_CHECKING:
    from hogwild_dist.attention.tables.device_tables import DeviceTables


@dataclass(frozen=True, slots=True)
class LayerKind:
    """What layers must have in common to share the tables of a step.

    Attributes:
        window: sliding window in tokens of the worker's view, or None.
        num_kv_heads: number of key-value heads.
        num_groups: query heads for each key-value head.
        head_dim: head size.
    """

    window: int | None
    num_kv_heads: int
    num_groups: int
    head_dim: int


@dataclass(frozen=True, slots=True)
class LayerInput:
    """What one layer attends with.

    Attributes:
        q: ``[H * G, N, D]`` queries, rotated at block-local positions.
        keys: ``[H, num_slots, D]`` slab of the layer.
        values: ``[H, num_slots, D]`` slab of the layer.
        cos: ``[num_entries, rotary_dim]`` cosines of each entry's rotation.
        sin: ``[num_entries, rotary_dim]`` sines, the first half negated.
        rule: how the layer scores keys.
        tables: the tables of the step.
    """

    q: Tensor
    keys: Tensor
    values: Tensor
    cos: Tensor
    sin: Tensor
    rule: ScoreRule
    tables: "DeviceTables"

    @property
    def num_groups(self) -> int:
        """Query heads for each key-value head."""
        return self.q.shape[0] // self.keys.shape[0]


class TableCall(Protocol):
    """The attention of one layer in one forward pass."""

    def attend(self, tasks: Tensor) -> None:
        """Compute the partial results of some tasks.

        Args:
            tasks: ``[num_tasks, TASK_FIELDS]``, rows of the tables.
        """

    def merged(self) -> Tensor:
        """Return each token's merged partial results, ``[N, H * G, D]``."""
        ...


class TableKernel(Protocol):
    """Attends as tables say.

    Attributes:
        capturable: whether a CUDA graph can hold its calls, since it reads no table on the host.
    """

    capturable: bool

    def max_entries(self, kind: LayerKind) -> int:
        """Return the most entries of a task."""
        ...

    def wanted_tasks(self, kind: LayerKind) -> int:
        """Return the number of tasks that keeps the device busy."""
        ...

    def begin(self, layer: LayerInput) -> TableCall:
        """Begin the attention of one layer."""
        ...
