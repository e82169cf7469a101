"""Converting a GGUF file into a folder that transformers loads."""

import io
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import transformers
from gguf import GGUFReader
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

from hogwild_dist.errors import ModelError, first_line
from hogwild_dist.model.hub.store import is_disk_full


def convert_gguf(gguf: Path, target: Path) -> None:
    """Write the model of a GGUF file as float32 weights, configuration and tokenizer.

    Args:
        gguf: The file, alone in its folder: transformers would prefer a neighbouring
            `tokenizer.json` or `generation_config.json` to what the file says.
        target: The folder to write.

    Raises:
        ModelError: The file is damaged or of a kind that transformers cannot import.
        Exception: The disk is full (`is_disk_full` recognises it).
    """
    try:
        with redirect_stderr(io.StringIO()):  # the library's own progress bars
            _write_model(gguf, target)
            _write_tokenizer(gguf, target)
    except Exception as error:
        if is_disk_full(error):
            raise
        raise _refusal(gguf, error) from error


def float32_size(gguf: Path) -> int:
    """Return the bytes that the weights of a GGUF file take in float32.

    Raises:
        ModelError: The file is damaged or not a GGUF file at all.
    """
    try:
        return 4 * sum(int(tensor.n_elements) for tensor in GGUFReader(gguf).tensors)
    except Exception as error:  # the reader trusts the file, so damage surfaces as anything
        raise _refusal(gguf, error) from error


def _write_model(gguf: Path, target: Path) -> None:
    # The library's types leave out that this option adds a report.
    loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        quantization_config=transformers.GgufConfig(dequantize=True),
        dtype="float32",
        output_loading_info=True,
    )
    model, report = loaded
    if report["missing_keys"]:  # the library would leave them random
        raise ValueError(f"it lacks the weights of {min(report['missing_keys'])}")
    model.save_pretrained(target)


def _write_tokenizer(gguf: Path, target: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    if _splits_digits(gguf):
        # The import knows this vocabulary only as byte-level BPE; the merges were learned on text
        # in which every digit stood alone.
        tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
            [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
        )
    tokenizer.save_pretrained(target)


def _splits_digits(gguf: Path) -> bool:
    """Tell whether a file names the pre-tokenizer of the SmolLM family."""
    field = GGUFReader(gguf).get_field("tokenizer.ggml.pre")
    return field is not None and field.contents() == "smollm"


def _refusal(gguf: Path, error: Exception) -> ModelError:
    reason = first_line(error).rstrip(".")
    return ModelError(
        f"{gguf.name} cannot be converted ({reason}): it is damaged or of a kind that "
        "transformers cannot import, so give a folder or a hub id of the same model."
    )
