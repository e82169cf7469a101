"""Commands whose options come in dataclasses."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from hogwild_dist.deploy.cli.options.grouped import grouped


@dataclass(frozen=True, kw_only=True)
class Drink:
    kind: Annotated[str, typer.Option(help="What to drink.")]
    sugar: Annotated[int, typer.Option(help="Lumps.")] = 1
    spice: Annotated[list[str] | None, typer.Option(help="Repeat it.")] = None


@grouped
def order(
    guest: Annotated[str, typer.Argument()],
    drink: Drink,
    hot: Annotated[bool, typer.Option("--hot/--cold")] = True,
) -> None:
    """Take an order."""
    print(guest, drink, hot)


def call(*arguments: str) -> tuple[int, str]:
    app = typer.Typer(rich_markup_mode=None)
    app.command()(order)
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.output


def test_fields_are_options_and_the_command_gets_the_dataclass() -> None:
    code, out = call("Ann", "--kind", "tea", "--spice", "mint", "--spice", "anise", "--cold")
    assert code == 0
    assert out == f"Ann {Drink(kind='tea', sugar=1, spice=['mint', 'anise'])} False\n"


def test_help_shows_the_fields_and_their_defaults() -> None:
    _, out = call("--help")
    assert "Take an order." in out
    assert "Lumps.  [default: 1]" in out
    assert "--drink" not in out


def test_a_field_without_a_default_is_required() -> None:
    code, out = call("Ann")
    assert code == 2
    assert "Missing option '--kind'" in out


def test_two_groups_cannot_have_the_same_option() -> None:
    def twice(first: Drink, second: Drink) -> None:
        """Never called."""

    with pytest.raises(ValueError, match="kind"):
        grouped(twice)
