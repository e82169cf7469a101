"""The shard actor: one device, one model replica and a copy of every block.

On CPUs a shard shares its cores with Ray's processes, so its threads soon sleep while they wait.
PyTorch says nothing of lost peers. Both are set here, before the modules of this package import
torch.
"""

import ray

from hogwild_dist.environment import limit_spinning, quieten_torch

if ray.is_initialized() and ray.get_runtime_context().worker.mode == ray.WORKER_MODE:
    limit_spinning()  # not in a process that only starts shards
    quieten_torch()
