"""Slash commands of a running session: a typed line speaks, or adds or removes a worker."""

from hogwild_dist import Run
from hogwild_dist.errors import ConfigError

HELP = "type to speak · /join NAME · /leave NAME"


def run_slash_command(run: Run, line: str) -> None:
    """Carry out a typed line.

    Raises:
        ConfigError: the command is unknown, or the session refuses the change.
    """
    word, _, name = line.partition(" ")
    if word in ("/join", "/leave"):
        if not name.strip():
            raise ConfigError(f"{word} needs a worker's name: {word} Carol.")
        if word == "/join":
            run.join(name.strip())
        else:
            run.leave(name.strip())
    elif word.startswith("/"):
        raise ConfigError(f"Unknown command {word!r}; use /join NAME or /leave NAME.")
    else:
        run.interject(line)
