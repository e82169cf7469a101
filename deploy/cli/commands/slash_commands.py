"""What a typed line does to a running session: speak, let a worker join, let one leave."""

from hogwild_dist import Run
from hogwild_dist.errors import ConfigError

HELP = "type to speak · /join NAME · /leave NAME"


def run_slash_command(run: Run, line: str) -> None:
    """Carry out a line.

    Raises:
        ConfigError: it cannot be carried out.
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
