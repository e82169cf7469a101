"""A small team in the combined layout, as a specification."""

from hogwild_dist.session.spec import SessionSpec, WorkerSpec
from tests.tiny_tokenizer import byte_tokenizer

TOKENIZER = byte_tokenizer()


def ids(text: str) -> tuple[int, ...]:
    return tuple(TOKENIZER.encode(text, add_special_tokens=False))


def team(*names: str, **fields: object) -> SessionSpec:
    """Workers in the combined layout."""
    workers = tuple(
        WorkerSpec(
            name=name,
            view=(
                "common", "header", *(f"w{j}" for j in range(len(names)) if j != i),
                "separator", f"w{i}",
            ),
            first_input=ids(f"{name} [1]: "),
            paragraphs_to="common",
            max_tokens=20,
        )
        for i, name in enumerate(names)
    )  # fmt: skip
    shared = {"common": ids("Count. "), "header": ids("Others: "), "separator": ids("Me: ")}
    return SessionSpec(**{
        "workers": workers, "shared": shared, "paragraph_prefix": "{worker} [{index}]: ", **fields
    })  # fmt: skip
