"""Conversion of a GGUF file into a folder that transformers loads."""

import io
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import transformers
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

from hogwild_dist.errors import ModelError, first_line
from hogwild_dist.model.hub.store import is_disk_full


def convert_gguf(gguf: Path, target: Path) -> None:
    """Write the model of a GGUF file as float32 weights, configuration and tokenizer.

    Args:
        gguf: file to convert. It must be alone in its folder, because transformers prefers a
            `tokenizer.json` or `generation_config.json` beside it to the file's own.
        target: folder to write.

    Raises:
        ModelError: the file is damaged or of a kind that transformers cannot import.
        Exception: the disk is full (`is_disk_full` recognises it).
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
    """Return the size of a GGUF file's weights in float32, in bytes.

    Raises:
        ModelError: the file is damaged or not a GGUF file.
    """
    try:
        return 4 * sum(int(tensor.n_elements) for tensor in _reader(gguf).tensors)
    except Exception as error:  # the reader does not validate, so damage may raise any error
        raise _refusal(gguf, error) from error


def _reader(gguf: Path) -> Any:
    """Open a GGUF file; its library is imported only where there is such a file."""
    from gguf import GGUFReader  # noqa: PLC0415

    return GGUFReader(gguf)


def _write_model(gguf: Path, target: Path) -> None:
    # With output_loading_info the result is a pair, which the library's types omit.
    loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        quantization_config=transformers.GgufConfig(dequantize=True),
        dtype="float32",
        output_loading_info=True,
        trust_remote_code=False,
    )
    model, report = loaded
    if report["missing_keys"]:  # the library would leave them random
        raise ValueError(f"it lacks the weights of {min(report['missing_keys'])}")
    model.save_pretrained(target)


def _write_tokenizer(gguf: Path, target: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        gguf.parent, gguf_file=gguf.name, trust_remote_code=False
    )
    if _splits_digits(gguf):
        # transformers imports this vocabulary as plain byte-level BPE, but its merges were learned
        # on text split into single digits.
        tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
            [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
        )
    tokenizer.save_pretrained(target)


def _splits_digits(gguf: Path) -> bool:
    """Return whether a file names the pre-tokenizer of the SmolLM family."""
    field = _reader(gguf).get_field("tokenizer.ggml.pre")
    return field is not None and field.contents() == "smollm"


def _refusal(gguf: Path, error: Exception) -> ModelError:
    reason = first_line(error).rstrip(".")
    return ModelError(
        f"{gguf.name} cannot be converted ({reason}): it is damaged or of a kind that "
        "transformers cannot import, so give a folder or a hub id of the same model."
    )
