import io
import json
import runpy
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from rich.console import Console

from hogwild_dist.actors.errors import GoneError, LostError
from hogwild_dist.deploy.view import JsonView, LiveView, PlainView, ViewKind, make_view
from hogwild_dist.deploy.view.text import harmless
from hogwild_dist.errors import ContextLimitError
from hogwild_dist.session.events import Answer, Event, Joined, Refused, SessionEnd
from tests.deploy.view.view_events import info, paragraph_end, short_run, stop, text
from tests.paths import ROOT

SHOW_CURSOR = "\x1b[?25h"
HOSTILE = "[bold]x[/bold] [/y] :smile: \x1b[2J\x1b]0;title\x07 \x9b2J a\u202eb\r\n\tend"


def printed(
    view_class: type[PlainView | LiveView],
    events: Iterable[Event],
    *,
    asked: bool = False,
    **console: int,
) -> str:
    """All that a view prints; each event comes half a second after the one before."""
    out = io.StringIO()
    ticks = count()
    about = replace(info(), asked=asked)
    with view_class(Console(file=out, **console), about, lambda: next(ticks) / 2) as view:
        for event in events:
            view.handle(event)
    return out.getvalue()


def terminal(out: io.StringIO) -> Console:
    return Console(
        file=out, force_terminal=True, color_system=None, width=80, height=24, _environ={}
    )


@pytest.mark.parametrize("view", [PlainView, LiveView])
def test_markup_and_control_characters_are_shown_harmlessly(view: type[PlainView | LiveView]):
    out = printed(view, [text(0, HOSTILE), stop(0, "[red]why[/red]")], width=100, height=30)
    assert "[bold]x[/bold] [/y] :smile: ␛[2J␛]0;title␇ \N{REPLACEMENT CHARACTER}2J" in out
    assert "[red]why[/red]" in out
    assert not set(out) & set("\x1b\x07\x9b\u202e\r\t")


def test_a_lone_surrogate_can_be_printed():
    assert harmless("a\udc80b") == "a?b"


def test_the_live_view_ends_with_all_text_and_a_summary():
    long_ago = [text(0, f"Paragraph one.{' filler' * 2000}\n\n"), paragraph_end(0)]
    events = [*long_ago, *short_run(), stop(0), stop(1), SessionEnd(step=9, reason="all_stopped")]
    out = printed(LiveView, events, width=80, height=24)
    whole = out[out.index("all stopped · step 9") :]
    for words in ("Alice [1]", "Paragraph one.", "Six times seven is 42.", "I will check that"):
        assert words in whole
    assert whole.count("filler") == 2000
    table = [line.split() for line in whole.splitlines()[-3:]]
    assert table == [
        ["Alice", "3", "5.0", "0.6", "max", "tokens"],
        ["Bob", "2", "5.5", "0.4", "max", "tokens"],
        ["all", "5", "6.0", "0.8", "all", "stopped"],
    ]


def interrupt(view: PlainView | LiveView, error: BaseException | None = None) -> None:
    """Leave a view in the middle of a run with an error; the default is Ctrl-C."""
    with view:
        for event in short_run():
            view.handle(event)
        raise error or KeyboardInterrupt


def test_ctrl_c_leaves_the_terminal_sane_and_keeps_the_text():
    out = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        interrupt(LiveView(terminal(out), info()))
    screen_end = out.getvalue().rindex(SHOW_CURSOR)
    whole = out.getvalue()[screen_end:]
    assert "Six times seven is 42." in whole
    assert "**Bob [1]:** I will check that" in whole
    assert whole.split()[-1] == "interrupted"
    assert "cancelled" not in whole


def test_ctrl_c_prints_unfinished_plain_lines():
    out = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        interrupt(PlainView(Console(file=out, width=80), info()))
    assert "Bob   | **Bob [1]:** I will check that\n" in out.getvalue()


def test_plain_lines_are_complete_and_of_one_worker():
    events = [*short_run(), stop(0), stop(1), SessionEnd(step=9, reason="all_stopped")]
    assert printed(PlainView, events, width=20).splitlines() == [
        "Alice | **Alice [1]:** Six times seven is 42.",
        "Alice | **Alice [2]:**",
        "Bob   | **Bob [1]:** I will check that",
        "4 tokens in 5.0 s, 0.8 tokens/s, all stopped: Alice 2 (max tokens), Bob 2 (max tokens)",
    ]


def test_plain_lines_appear_as_soon_as_they_are_complete():
    out = io.StringIO()
    with PlainView(Console(file=out), info()) as view:
        view.handle(text(0, "one\ntw"))
        assert out.getvalue() == "Alice | one\n"
        view.handle(text(1, "other\n\n"))
        view.handle(text(0, "o."))
        view.handle(paragraph_end(0))
        assert out.getvalue() == "Alice | one\nBob   | other\nAlice | two.\n"


def test_json_lines_are_the_events():
    out = io.StringIO()
    events = [*short_run(), text(0, HOSTILE + "\u2028日本"), stop(0)]
    with JsonView(Console(file=out, width=20)) as view:
        for event in events:
            view.handle(event)
    lines = out.getvalue().splitlines()
    expected = [json.loads(json.dumps(event.to_json())) for event in events]
    assert [json.loads(line) for line in lines] == expected
    assert "日本" in lines[-2]
    assert "\x9b" not in out.getvalue()


class TerminalStream(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "expected"),
    [
        (TerminalStream(), {}, LiveView),
        (TerminalStream(), {"TERM": "dumb"}, PlainView),
        (io.StringIO(), {}, PlainView),
        (io.StringIO(), {"FORCE_COLOR": "1"}, PlainView),
    ],
)
def test_the_view_fits_the_stream(
    stream: io.StringIO, environment: dict[str, str], expected: type[object]
):
    console = Console(file=stream, _environ=environment)
    assert isinstance(make_view(info(), console=console), expected)


def test_a_view_can_be_chosen():
    chosen = {kind: type(make_view(info(), kind, Console(file=io.StringIO()))) for kind in ViewKind}
    assert chosen == {
        ViewKind.LIVE: LiveView,
        ViewKind.PLAIN: PlainView,
        ViewKind.JSON: JsonView,
    }


WRITER = """
from hogwild_dist.deploy.view import ViewInfo, ViewKind, make_view
from hogwild_dist.session.events import Text
about = ViewInfo(problem="p", names=("Alice",), model="m", layout="l", visibility="v")
with make_view(about, ViewKind("{kind}")) as view:
    while True:
        view.handle(Text(step=0, worker=0, name="Alice", token_ids=(7,), text="word\\n"))
"""


@pytest.mark.parametrize("kind", ["plain", "json"])
def test_a_reader_that_goes_away_ends_the_program_quietly(kind: str):
    command = [sys.executable, "-c", WRITER.format(kind=kind)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        assert "word" in writer.stdout.readline()
        writer.stdout.close()
        assert writer.stderr.read() == ""
    assert writer.returncode == 1


def test_the_picture_shows_the_screen_at_an_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    out = io.StringIO()
    with JsonView(Console(file=out)) as view:
        for event in short_run():
            view.handle(event)
    recorded, picture = tmp_path / "events.jsonl", tmp_path / "screen.svg"
    recorded.write_text(out.getvalue(), encoding="utf-8")
    options = {
        "--at": "4",
        "--problem": "How much?",
        "--model": "m",
        "--layout": "combined",
        "--visibility": "same-step",
        "--seconds": "2",
        "--width": "80",
    }
    given = [word for option in options.items() for word in option]
    monkeypatch.setattr(sys, "argv", ["live_view_svg", str(recorded), str(picture), *given])
    runpy.run_path(str(ROOT / "docs/tools/live_view_svg.py"), run_name="__main__")
    drawn = picture.read_text(encoding="utf-8").replace("&#160;", " ")
    assert drawn.startswith("<svg")
    assert "Six times seven" in drawn
    assert "I will che" in drawn
    assert "is 42." not in drawn


def stated(answer: str | None, after: int, budget: int | None = None, of: int | None = None):
    return Answer(
        step=after, worker=2, name="Finisher", of=of, answer=answer, after=after, budget=budget
    )


@pytest.mark.parametrize("view", [PlainView, LiveView])
def test_answers_come_with_the_step_at_which_they_were_asked_for(view):
    events = [*short_run(), stated("41", 64, 64), stated(None, 128, 128), stated("42\x1b", 200)]
    said = printed(view, events, width=80, height=24)
    lines = [line.rstrip("\u2500 ") for line in said.splitlines()]
    assert "answer after 128 steps" not in said
    if view is PlainView:
        assert lines[-3:-1] == ["answer after 64 steps: 41", "answer: 42␛"]
    else:
        assert lines[lines.index("answer after 64 steps") :][:4] == [
            "answer after 64 steps", "41", "answer", "42␛",
        ]  # fmt: skip


def test_an_answer_at_a_budget_is_not_that_of_the_end():
    events = [*short_run(), stated("41", 64, 64), SessionEnd(step=70, reason="cancelled")]
    assert "\nanswer: " not in printed(PlainView, events)


def test_of_a_vote_the_most_frequent_answer_is_shown():
    votes = [stated(said, 64, 64, of) for of, said in enumerate(("1", "2", "2"))]
    votes += [stated(said, 90, None, of) for of, said in enumerate(("3", "3", "2"))]
    out = printed(PlainView, [*short_run(), *votes])
    assert "answer after 64 steps: 2\nanswer: 3\n" in out


def test_the_final_text_is_the_team_s_alone():
    joined, refused = Joined(step=3, worker=3, name="Dave"), Refused(step=3, reason="Too late.")
    events = [*short_run(), joined, refused]
    live, plain = printed(LiveView, events, width=80, height=24), printed(PlainView, events)
    assert "from outside" not in live
    assert "\nrefused: Too late.\n" in live[live.index("Alice [1]") :]
    table = [line.split()[0] for line in live.splitlines()[-4:]]
    assert table == ["Alice", "Bob", "Dave", "all"]
    assert "\n* Too late.\n" in plain
    assert plain.rstrip().endswith("Bob 2 (not stopped), Dave 0 (not stopped)")


@pytest.mark.parametrize("view", [PlainView, LiveView])
@pytest.mark.parametrize(
    ("outlives", "error", "said"),
    [
        (False, KeyboardInterrupt(), "interrupted"),
        (True, KeyboardInterrupt(), "left; the session goes on"),
        (True, GoneError("The group's driver died."), "connection lost"),
        (True, LostError("Session 1 was lost."), "lost"),
        (False, ContextLimitError("The session does not fit."), "failed"),
    ],
)
def test_the_summary_says_what_became_of_a_session_without_an_end(
    view: type[PlainView | LiveView], outlives: bool, error: BaseException, said: str
):
    out = io.StringIO()
    about = replace(info(), asked=True, outlives=outlives)
    shown = view(Console(file=out, width=100, height=24), about, lambda: 0.0)
    with pytest.raises(type(error)):
        interrupt(shown, error)
    whole = out.getvalue()
    assert "cancelled" not in whole
    assert f"none ({said})" in whole
    if view is PlainView:
        assert whole.endswith(f", {said}: Alice 2 (not stopped), Bob 2 (not stopped)\n")
    else:
        *_, bob, total = map(str.rstrip, whole.splitlines())
        assert bob.endswith(" not stopped")
        assert total.endswith(f" {said}")


@pytest.mark.parametrize(
    ("said", "reason", "why"),
    [
        ([stated(None, 9)], "max_total_tokens", "and the finisher stated none"),
        ([stated("4", 2, 2)], "all_stopped", "and no finisher was asked"),
        ([], "cancelled", "cancelled"),
    ],
)
def test_a_team_without_an_answer_says_so(said: list[Event], reason: str, why: str):
    events = [*short_run(), *said, SessionEnd(step=9, reason=reason)]
    line = next(
        line
        for line in printed(PlainView, events, asked=True).splitlines()
        if line.startswith("answer: ")
    )
    assert line.startswith("answer: none (")
    assert why in line
    live = printed(LiveView, events, asked=True, width=100, height=24)
    assert line.removeprefix("answer: ") in live
    assert "none (" not in printed(PlainView, events)
