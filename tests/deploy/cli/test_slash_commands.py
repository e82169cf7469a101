"""What a person types at a running team."""

import os
import pty
import sys
import time

import pytest

from hogwild_dist.deploy.cli.commands.slash_commands import run_slash_command
from hogwild_dist.deploy.view.keyboard import Keyboard
from hogwild_dist.errors import ConfigError
from hogwild_dist.run.run import Run
from hogwild_dist.session.events import Interjected, Joined, WorkerStop
from hogwild_dist.team.team import Limits, Team
from tests.tiny_engine import tiny_byte_model, tiny_engine
from tests.tiny_team import BREAKS, PROMPTS


def test_lines_are_edited_and_taken_once() -> None:
    keyboard = Keyboard()
    keyboard.press("helo\x7flo")
    assert keyboard.typed == "hello"
    keyboard.press(" you\n \r/join\x1b")
    assert keyboard.typed == "/join"
    assert list(keyboard.lines()) == ["hello you"]
    assert list(keyboard.lines()) == []


def test_a_terminal_is_read_and_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r") as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        lines: list[str] = []
        with Keyboard() as keyboard:
            os.write(ours, b"hi there\n")
            late = time.monotonic() + 10
            while not lines and time.monotonic() < late:
                lines = list(keyboard.lines())
        assert lines == ["hi there"]
        os.write(ours, b"x\n")
        assert terminal.readline() == "x\n"
    os.close(ours)


def test_lines_speak_and_change_the_team() -> None:
    team = Team(
        names=("Ann", "Ben"), prompts=PROMPTS, sampling=BREAKS, limits=Limits(max_tokens=60), seed=1
    )
    run = Run(tiny_engine(tiny_byte_model()), "Count!", team)
    events = []
    for event in run:
        if not events:
            for line in ("Hello!", "/join Zoe", "/leave Ben"):
                run_slash_command(run, line)
            for line, sentence in (("/join", "needs a worker's name"), ("/zoo", "Unknown command")):
                with pytest.raises(ConfigError, match=sentence):
                    run_slash_command(run, line)
        events.append(event)
    assert any(isinstance(event, Interjected) and "Hello!" in event.text for event in events)
    assert any(isinstance(event, Joined) for event in events)
    assert {e.name: e.reason for e in events if isinstance(e, WorkerStop)}["Ben"] == "left"
