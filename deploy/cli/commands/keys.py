"""`hogwild keys`: what clients of the service show."""

from typing import Annotated

import typer

from hogwild_dist.deploy.service.keys import check_key_name, new_key

app = typer.Typer(help="Keys of the service's clients.", no_args_is_help=True)


@app.command("new")
def new(name: Annotated[str, typer.Argument(help="Of the client.")]) -> None:
    """Make a key: print it once, and what the service's file is to hold."""
    key, digest = new_key()
    check_key_name(name)
    print(f"key: {key}")
    print("Give it to the client, and add this to the service's file (it holds a hash only):")
    print(f'\n[[keys]]\nname = "{name}"\nsha256 = "{digest}"')
