"""`hogwild group`: manage groups of shards that outlive the command that starts them."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated

import typer
from rich.table import Table

from hogwild_dist.actors.client.connect import connected
from hogwild_dist.actors.client.drivers import end_group
from hogwild_dist.actors.client.running_groups import running_groups
from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.actors.driver.durable_log import absolute, stored_settings
from hogwild_dist.actors.driver.session_record import SessionSummary
from hogwild_dist.actors.settings import check_group_name
from hogwild_dist.deploy.cli.execution import ExecutionTarget, start_group
from hogwild_dist.deploy.cli.options.grouped import grouped
from hogwild_dist.deploy.cli.options.placement import ShardOptions
from hogwild_dist.deploy.cli.output import OutputConsole, own_output
from hogwild_dist.deploy.cli.progress import progress_lines
from hogwild_dist.deploy.view import ViewInfo, ViewKind, make_view
from hogwild_dist.errors import ConfigError
from hogwild_dist.run.load import LoadSettings
from hogwild_dist.session.changes import Change, RemoveWorker
from hogwild_dist.team.worker_profile import WorkerProfile

app = typer.Typer(
    help="Manage groups of shards that outlive a run.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="Name of the group.")]
Session = Annotated[int, typer.Argument(help="Number of the session.")]
At = Annotated[str, typer.Option(help="Ray cluster: auto or HOST:PORT.")]


@app.command()
@grouped
def start(
    name: Name,
    load: LoadSettings,
    shards: ShardOptions,
    journal: Annotated[
        str | None,
        typer.Option(help="Folder or URL that keeps the sessions, which then outlive the group."),
    ] = None,
    address: At = "auto",
) -> None:
    """Start a group; `hogwild run --attach NAME` uses it.

    Sessions that an earlier group of this name has left in its journal go on.
    """
    target = ExecutionTarget(
        load_settings=load,
        placement=shards,
        address=address,
        name=name,
        journal=journal and absolute(journal),
    )
    with start_group(target) as group:
        _print_group(group)


@app.command()
def restore(
    name: Name,
    journal: Annotated[str, typer.Option(help="Folder or URL that keeps the sessions.")],
    address: At = "auto",
) -> None:
    """Start a group again from its journal.

    It has the settings that it had, and its sessions go on where they were.
    """
    check_group_name(name)
    settings = replace(stored_settings(absolute(journal), name), journal=absolute(journal))
    with progress_lines() as tell:
        tell(f"reaching Ray at {address}")
        with connected(address), ShardGroup.start(settings, name=name, tell=tell) as group:
            tell("")
            _print_group(group)


@app.command("list")
def list_groups(address: At = "auto") -> None:
    """List the groups of a cluster."""
    with connected(address):
        table = Table("group", "shards", "epoch", "state")
        for one in running_groups():
            info = one.info
            shards = "" if info is None else f"{len(info.shards)} of {info.settings.num_shards}"
            table.add_row(one.name, shards, "" if info is None else str(info.epoch), one.state)
        _print_table(table)


@app.command()
def status(name: Name, address: At = "auto") -> None:
    """Show the shards of a group; lost ones are missing."""
    with _attached(name, address) as group:
        info = group.group
        table = Table("shard", "node", "process", "device", "sessions", "KV pages used")
        for rank, (shard, now) in enumerate(zip(info.shards, group.status(), strict=True)):
            used = f"{now.num_pages - now.free_pages} of {now.num_pages}"
            about = (shard.node, str(shard.pid), shard.device, str(len(now.sessions)))
            table.add_row(str(rank), *about, used)
        _print_table(table)
        counts = f"{len(info.shards)} of {info.settings.num_shards} shards, epoch {info.epoch}"
        print(f"{counts}: {group.progress()}")


@app.command()
def scale(
    name: Name,
    shards: Annotated[int, typer.Option(help="Number of shards, from 1 to 64.")],
    address: At = "auto",
) -> None:
    """Add shards to a running group, or remove some."""
    with progress_lines() as tell, _attached(name, address) as group:
        info = group.scale(shards, tell)
        tell("")
        print(f"{len(info.shards)} of {info.settings.num_shards} shards, epoch {info.epoch}")


@app.command()
def renew(name: Name, address: At = "auto") -> None:
    """Replace all shards of a group by new processes.

    They are replaced one by one, while its sessions go on.
    """
    with progress_lines() as tell, _attached(name, address) as group:
        info = group.renew(tell)
        tell("")
        print(f"{len(info.shards)} of {info.settings.num_shards} shards, epoch {info.epoch}")


@app.command()
def sessions(name: Name, address: At = "auto") -> None:
    """List the sessions of a group."""
    with _attached(name, address) as group:
        table = Table("session", "state", "tokens", "steps", "started", "workers", "problem")
        for one in group.sessions():
            began = time.strftime("%H:%M:%S", time.localtime(one.started))
            counts = (str(one.num_tokens), str(one.num_steps))
            table.add_row(
                str(one.id), _state(one), *counts, began, ", ".join(one.workers), one.label
            )
        _print_table(table)


@app.command()
def follow(
    name: Name,
    session: Session,
    address: At = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON event per line.")] = False,
) -> None:
    """Show a session from its beginning; leaving does not end it."""
    with own_output() as console, _attached(name, address) as group:
        stream = group.follow(session)
        summary = _summary(group, session)
        info = ViewInfo(
            problem=summary.label,
            names=summary.workers,
            model=group.info.name,
            layout="",
            visibility=group.config.visibility.value,
            outlives=True,
        )
        seconds = 0.0  # in steps; what the session wrote before arrives all at once
        kind = ViewKind.JSON if json else None
        with make_view(info, kind, console, clock=lambda: seconds) as view:
            for update in stream:
                seconds += update.seconds
                for event in update.events:
                    view.handle(event)


@app.command()
def cancel(name: Name, session: Session, address: At = "auto") -> None:
    """Cancel a session; its text is kept."""
    with _attached(name, address) as group:
        group.cancel(session)


@app.command()
def forget(name: Name, session: Session, address: At = "auto") -> None:
    """Delete a session with all its text, also from the journal.

    A running session is cancelled.
    """
    with _attached(name, address) as group:
        group.forget(session)


@app.command()
def say(
    name: Name,
    session: Session,
    text: Annotated[str, typer.Argument(help="Message to the team.")],
    speaker: Annotated[str, typer.Option(help="Name of the speaker.")] = "You",
    target: Annotated[
        str | None,
        typer.Option(help="Shared block to append to; by default one that all see."),
    ] = None,
    address: At = "auto",
) -> None:
    """Send a message to the team of a running session.

    Workers see it from the next step.
    """
    with _attached(name, address) as group:
        _change(group, session, group.change_texts(session).interjection(text, speaker, target))


@app.command()
def join(
    name: Name,
    session: Session,
    worker: Annotated[str, typer.Argument(help="Name of the new worker.")],
    role: Annotated[str, typer.Option(help="Role in one line, shown to every worker.")] = "",
    brief: Annotated[str, typer.Option(help="Task of the new worker.")] = "",
    address: At = "auto",
) -> None:
    """Add a worker to a running session.

    The layout's rule for everyone gives it its view.
    """
    member = WorkerProfile(role=role, brief=brief)
    with _attached(name, address) as group:
        _change(group, session, group.change_texts(session).add_worker(worker, member))


@app.command()
def leave(
    name: Name,
    session: Session,
    worker: Annotated[str, typer.Argument(help="Name of the worker.")],
    address: At = "auto",
) -> None:
    """Remove a worker from a running session when its paragraph ends."""
    with _attached(name, address) as group:
        _change(group, session, RemoveWorker(name=worker))


@app.command()
def stop(name: Name, address: At = "auto") -> None:
    """End a group and its sessions.

    It also ends a group that is lost or does not answer.
    """
    check_group_name(name)
    with connected(address):
        end_group(name)


def _print_group(group: ShardGroup) -> None:
    """Print the shards of a group, and the sessions that its journal has brought back."""
    for rank, shard in enumerate(group.group.shards):
        print(f"shard {rank}: {shard.node}, {shard.device}, {shard.threads} threads")
    for one in group.sessions():
        print(f"session {one.id}: {_state(one)}, {one.num_steps} steps")


def _change(group: ShardGroup, session: int, change: Change) -> None:
    """Change a session, and tell the user if that has to wait."""
    group.apply_change(session, change)
    steps = [one.replayed for one in group.sessions() if one.id == session]  # or it has gone
    if steps and steps[0] is not None:
        print(
            f"hogwild: session {session} is being replayed, and is at step {steps[0]}; the change "
            "is made when the replay is over",
            file=sys.stderr,
        )


def _summary(group: ShardGroup, session: int) -> SessionSummary:
    for summary in group.sessions():
        if summary.id == session:
            return summary
    raise ConfigError(f"There is no session {session} any more.")


def _print_table(table: Table) -> None:
    OutputConsole(width=None if OutputConsole().is_terminal else 200).print(table)


@contextmanager
def _attached(name: str, address: str) -> Iterator[ShardGroup]:
    check_group_name(name)
    with connected(address), ShardGroup.attach(name) as group:
        yield group


def _state(one: SessionSummary) -> str:
    if one.end_reason is not None:
        return one.end_reason.replace("_", " ")
    if one.error is None and one.replayed is not None:
        return f"replayed to step {one.replayed}"
    return "running" if one.error is None else "lost"
