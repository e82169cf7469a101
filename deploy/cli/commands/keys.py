"""`hogwild keys`: make keys for the service's clients."""

from typing import Annotated

import typer

from hogwild_dist.deploy.service.keys import check_key_name, new_key

app = typer.Typer(help="Make keys for the service's clients.", no_args_is_help=True)


@app.command("new")
def new(name: Annotated[str, typer.Argument(help="Name of the client.")]) -> None:
    """Make a key; print it and the lines that the service's file needs."""
    key, digest = new_key()
    check_key_name(name)
    print(f"key: {key}")
    print("Give it to the client, and add this to the service's file (it holds only a hash):")
    print(f'\n[[keys]]\nname = "{name}"\nsha256 = "{digest}"')
