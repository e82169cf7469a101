"""The script of a process that renders a model's chat template.

Chat templates come with a model and are not trusted: transformers' sandbox keeps them from Python,
and the limits of this process keep them from running without end. It reads a job from standard
input and writes one result for each chat to standard output, both as JSON.
"""

import json
import resource
import sys
from typing import Any


def main() -> None:
    """Render the chats of a job."""
    job = json.load(sys.stdin)
    sys.path[:] = job["modules"]
    for name, limit in job["limits"].items():
        _limit(getattr(resource, name), limit)
    from transformers.utils.chat_template_utils import render_jinja_template  # noqa: PLC0415

    results = []
    for chat in job["chats"]:
        try:
            rendered: Any = render_jinja_template(
                [chat], chat_template=job["template"], add_generation_prompt=True, **job["tokens"]
            )
            results.append(_result(rendered[0][0], job["max_chars"]))
        except Exception as error:  # a template may raise anything
            results.append({"error": str(error) or type(error).__name__})
    json.dump(results, sys.stdout)


def _limit(kind: int, limit: int) -> None:
    """Lower a limit of this process; one that is lower already stays."""
    _, hard = resource.getrlimit(kind)
    chosen = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (chosen, chosen))


def _result(text: str, max_chars: int) -> dict[str, Any]:
    if len(text) > max_chars:
        return {"error": f"it writes {len(text)} characters, more than {max_chars}"}
    return {"text": text}


if __name__ == "__main__":
    main()
