"""Compiles the Triton kernels for GPUs that need not be there, and prints what they take.

A line of JSON for each variant: registers of a thread, bytes that it spills, bytes of shared memory
of a program. Run it without `TRITON_INTERPRET`.
"""

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from hogwild_dist.attention.triton.kernels import attend_tasks, merge_parts
from hogwild_dist.attention.triton.launches import LEAST_ROWS, most_rows, tile_keys
from hogwild_dist.model.fused.kernels import gate_columns, norm_rows, rotate_heads, write_rows
from hogwild_dist.model.fused.operations import COLUMNS, WIDE_ROW

ARCHITECTURES = (80, 90, 100)
HEAD_DIMS = (64, 128, 256)
NUM_GROUPS = 4

TYPES = {
    **dict.fromkeys(("q_ptr", "k_ptr", "v_ptr", "x_ptr", "weight_ptr"), "*bf16"),
    **dict.fromkeys(("gate_ptr", "up_ptr", "q_out_ptr", "k_out_ptr", "v_out_ptr"), "*bf16"),
    **dict.fromkeys(("cos_ptr", "sin_ptr", "lse_ptr", "parts_out_ptr", "parts_lse_ptr"), "*fp32"),
    **dict.fromkeys(("tokens_ptr", "lows_ptr", "highs_ptr", "tasks_ptr"), "*i32"),
    **dict.fromkeys(("parts_ptr", "part_starts_ptr"), "*i32"),
    "slots_ptr": "*i64",
    **dict.fromkeys(("q_head", "q_token", "kv_head", "kv_slot", "num_heads"), "i32"),
    **dict.fromkeys(("x_outer", "x_inner", "num_inner", "k_head", "k_token"), "i32"),
    **dict.fromkeys(("angle_token", "num_q", "num_k", "v_head", "v_token", "out_head"), "i32"),
    **dict.fromkeys(("gate_row", "up_row", "num_columns"), "i32"),
    **dict.fromkeys(("scale", "cap", "epsilon"), "fp32"),
}
ALIGNED = (
    "q_head", "q_token", "kv_head", "kv_slot", "x_outer", "x_inner", "k_head", "k_token",
    "v_head", "v_token", "out_head", "angle_token", "gate_row", "up_row", "num_columns",
)  # fmt: skip
"""Numbers that are multiples of 16, as are all pointers."""


Variant = tuple[Any, dict[str, Any], str, int]
"""A kernel with its constants, the type of its output, and its number of warps."""


def attention_variants(head_dim: int) -> Iterator[Variant]:
    """The attention kernels for a head size."""
    common = {"D": head_dim, "D_PADDED": head_dim}
    attend = {
        "G": NUM_GROUPS, "ROTARY": head_dim, "N": tile_keys(head_dim), "CAPPED": False,
        "PRECISION": "ieee",
    }  # fmt: skip
    for rows in sorted({LEAST_ROWS, most_rows(head_dim)}):
        yield attend_tasks, {**common, **attend, "M": rows}, "*fp32", 4
    yield merge_parts, {**common, "P": 8}, "*bf16", 2


def fused_variants() -> Iterator[Variant]:
    """The kernels of a layer's small operations, for heads of 128 and hidden sizes up to 5,120."""
    for size, padded in ((128, 128), (4_096, 4_096), (5_120, 8_192)):
        num_warps = 8 if size >= WIDE_ROW else 4
        yield norm_rows, {"D": size, "D_PADDED": padded}, "*bf16", num_warps
    yield rotate_heads, {"D": 128, "D_PADDED": 128, "ROTARY": 128}, "*bf16", 1
    yield write_rows, {"D": 128, "D_PADDED": 128}, "*bf16", 1
    yield gate_columns, {"C": COLUMNS}, "*bf16", 4


def resources(
    kernel: Any, constants: dict[str, Any], out: str, num_warps: int, architecture: int
) -> dict[str, int]:
    """Compile one variant and return what it takes."""
    names = kernel.arg_names
    types = {**TYPES, "out_ptr": out, **dict.fromkeys(constants, "constexpr")}
    aligned = [name for name in names if name.endswith("_ptr") or name in ALIGNED]
    source = ASTSource(
        kernel,
        {name: types[name] for name in names},
        {(names.index(name),): value for name, value in constants.items()},
        {(names.index(name),): [["tt.divisibility", 16]] for name in aligned},
    )
    target = GPUTarget("cuda", architecture, 32)
    compiled = triton.compile(source, target=target, options={"num_warps": num_warps})
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        printed = subprocess.run(
            [tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", printed)
    assert found, printed
    return {
        "registers": int(found[1]),
        "spilled": int(found[2]),
        "shared": compiled.metadata.shared,
    }


if __name__ == "__main__":
    for architecture in ARCHITECTURES:
        found = [*chain.from_iterable(map(attention_variants, HEAD_DIMS)), *fused_variants()]
        for kernel, constants, out, num_warps in found:
            about = {
                "kernel": kernel.__name__,
                "sm": architecture,
                "size": constants.get("D", constants.get("C")),
                "rows": constants.get("M", 0),
            }
            taken = resources(kernel, constants, out, num_warps, architecture)
            print(json.dumps(about | taken), flush=True)
