"""Commands whose options come in dataclasses."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from hogwild_dist.deploy.cli.options.grouped import Given, grouped
from hogwild_dist.run.load import LoadSettings
from hogwild_dist.settings import flat_fields, setting


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


def call(*arguments: str, command: Callable[..., None] = order) -> tuple[int, str]:
    app = typer.Typer(rich_markup_mode=None)
    app.command()(command)
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


@dataclass(frozen=True, kw_only=True)
class Table:
    seats: int = setting(2, "Seats at the table.")
    drink: Drink = field(default_factory=lambda: Drink(kind="water"))


@grouped
def reserve(table: Table) -> None:
    print(table)


@grouped
def change(table: Annotated[dict[str, Any], Given(Table, without=("spice",))]) -> None:
    print(table)


def test_fields_of_a_nested_dataclass_are_options_too() -> None:
    code, out = call("--seats", "4", "--kind", "tea", command=reserve)
    assert code == 0
    assert out == f"{Table(seats=4, drink=Drink(kind='tea'))}\n"
    assert "Seats at the table.  [default: 2]" in call("--help", command=reserve)[1]


def test_a_command_may_take_only_what_the_user_gave() -> None:
    assert call("--kind", "tea", command=change) == (0, "{'kind': 'tea'}\n")
    assert "default" not in call("--help", command=change)[1]
    assert call("--spice", "mint", command=change)[0] == 2


def test_every_setting_of_an_engine_is_described() -> None:
    assert [one.name for one in flat_fields(LoadSettings) if "help" not in one.metadata] == []


def test_two_groups_cannot_have_the_same_option() -> None:
    def twice(first: Drink, second: Drink) -> None:
        """Never called."""

    with pytest.raises(ValueError, match="kind"):
        grouped(twice)
