"""Checks and measures the engine on one GPU, without Ray.

Each part writes its rows as they come, to OUT/PART.jsonl. A part whose file says that it ended is
not run again, so that the script can be interrupted and resumed; --again runs it anew.
OUT/report.md shows everything that was measured.

`--tiny --device cpu` tries the script itself on a CPU.
"""

import argparse
import json
import time
import traceback
from pathlib import Path

import torch

from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.report import markdown
from benchmarks.gpu.settings import Settings

ENDED = {"ended": True}


def main() -> None:
    """Run the parts that have not ended."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks-gpu"))
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--again", action="store_true", help="run parts that have ended")
    parser.add_argument("--tiny", action="store_true", help="try the script with tiny shapes")
    parser.add_argument("--seconds", type=float, default=840, help="start no part after this time")
    parser.add_argument("--model", type=Path, help="folder of smollm2-135m, for the recordings")
    options = parser.parse_args()
    device = torch.device(options.device)
    settings = Settings(device=device, tiny=options.tiny, model=options.model)
    if settings.device.type == "cuda":
        if not torch.cuda.is_available():
            parser.error(
                f"--device {options.device} needs a CUDA GPU, and torch finds none; for a dry run "
                "on a CPU add --tiny --device cpu."
            )
        torch.cuda.set_device(settings.device)
    options.out.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    for name in options.only:
        path = options.out / f"{name}.jsonl"
        if time.monotonic() - begin > options.seconds:
            print(f"{name}: not started, since {options.seconds:.0f} s are over", flush=True)
        elif options.again or not has_ended(path):
            run(name, path, settings)
    report = options.out / "report.md"
    report.write_text(markdown({name: rows(options.out / f"{name}.jsonl") for name in PARTS}))
    print(f"see {report}")


def run(name: str, path: Path, settings: Settings) -> None:
    """Run one part; what it found before an error is kept, and the next part follows."""
    began = time.monotonic()
    with path.open("w", encoding="utf-8") as file:
        try:
            for row in PARTS[name](settings):
                print(f"{name}: {json.dumps(row)}", flush=True)
                file.write(json.dumps(row) + "\n")
                file.flush()
        except Exception as error:  # the next part follows, whatever it is
            traceback.print_exc()
            file.write(json.dumps({"error": f"{type(error).__name__}: {error}"[:500]}) + "\n")
            return
        file.write(json.dumps(ENDED | {"seconds": round(time.monotonic() - began, 1)}) + "\n")


def rows(path: Path) -> list[dict[str, object]]:
    """Return the rows of a part, none if it has not run."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def has_ended(path: Path) -> bool:
    """Return whether a part has run to its end."""
    return bool(rows(path)) and rows(path)[-1].get("ended") is True


if __name__ == "__main__":
    main()
