import io
from collections.abc import Iterable

import pytest
from rich.cells import cell_len
from rich.console import Console

from hogwild_dist.deploy.view import ViewInfo
from hogwild_dist.deploy.view.screen import Screen, colour
from hogwild_dist.session.events import Event, Joined, Refused
from tests.deploy.view.view_events import info, paragraph_end, short_run, state_after, stop, text


def screen(
    events: Iterable[Event], about: ViewInfo | None = None, width: int = 80, height: int = 24
) -> list[str]:
    """Lines of the screen after these events."""
    about = about or info()
    console = Console(file=io.StringIO(), width=width, height=height, record=True)
    console.print(Screen(about, state_after(about, events), 2.0))
    return console.export_text().splitlines()


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("num_workers", [1, 2, 5, 16])
@pytest.mark.parametrize("height", [10, 24, 50])
def test_every_worker_is_on_a_screen_of_any_size(width: int, num_workers: int, height: int):
    about = info(num_workers)
    events = [text(0, "first " * 100 + ".\n\n"), paragraph_end(0)]
    events += [text(i, "many words " * 200 + f"end{i}") for i in range(num_workers)]
    lines = screen(events, about, width, height)
    assert len(lines) <= height
    assert max(map(cell_len, lines)) <= width
    shown = "\n".join(lines)
    assert about.problem in lines[0]
    assert all(name in shown for name in about.names)
    assert all(f"end{i}" in shown for i in range(num_workers))


def test_workers_stand_side_by_side_where_columns_are_wide_enough():
    events = [text(0, "left"), text(1, "right")]
    assert any("left" in line and "right" in line for line in screen(events, width=80))
    assert not any("left" in line and "right" in line for line in screen(events, width=40))


def test_five_workers_wrap_into_two_even_rows():
    events = [text(i, f"word{i}") for i in range(5)]
    lines = screen(events, info(5), width=130, height=40)
    rows = [[i for i in range(5) if f"word{i}" in line] for line in lines]
    assert [row for row in rows if row] == [[0, 1, 2], [3, 4]]


def test_a_finished_paragraph_moves_from_its_panel_to_the_history():
    before, after = screen(short_run()[:5]), screen(short_run())
    assert not any("finished paragraphs" in line for line in before)
    history = after.index(next(line for line in after if "finished paragraphs" in line))
    panels = after.index(next(line for line in after if "╭─ Alice" in line))
    found = [place for place, line in enumerate(after) if "Six times seven is 42." in line]
    assert len(found) == 1
    assert history < found[0] < panels
    assert any("**Alice [2]:**" in line and "I will check that" in line for line in after[panels:])


def test_the_end_of_a_long_text_is_shown():
    lines = screen([text(0, " ".join(map(str, range(5000))))], info(1))
    shown = "\n".join(lines)
    assert "4999" in shown
    assert " 1000 " not in shown


def test_lines_stay_broken_where_they_are_while_text_is_added():
    """Each line holds seven of these words: which of them begins a line must not change."""
    words = [f"{number:010}" for number in range(2110)]
    beginnings = [
        int(line.split()[1]) % 7
        for length in range(2100, 2110)
        for line in screen([text(0, " ".join(words[:length]))], info(1))
        if line.startswith("│ 0")
    ]
    assert len(beginnings) > 100
    assert len(set(beginnings)) == 1


def test_a_stopped_worker_shows_why():
    lines = screen([*short_run(), stop(1, "end_of_text")])
    assert any("end of text" in line for line in lines)
    lines = screen([stop(3, "max_tokens")], info(16), width=60, height=24)
    assert any("Dave" in line and "max tokens" in line for line in lines)


def test_the_status_line_counts_chosen_tokens():
    status = screen(short_run())[-1]
    assert status.split(" · ") == [
        "step 2",
        "4 tokens",
        "2.0 tokens/s",
        "0:00:02",
        "combined",
        "same-step",
        "demo-model",
    ]


def test_a_long_problem_is_cut_with_an_ellipsis():
    lines = screen([], info(1, problem="A long problem indeed. " * 50), width=40)
    assert lines[2].endswith("…")
    assert lines[3].startswith("╭")


def test_colours_tell_workers_apart_and_injected_text_from_chosen():
    about = info()
    console = Console(
        file=io.StringIO(), width=80, height=24, force_terminal=True, color_system="truecolor"
    )
    spans = {
        segment.text.strip(): segment.style
        for segment in console.render(Screen(about, state_after(about, short_run()), 1.0))
        if segment.style
    }
    alice, bob = spans["Six times seven is 42."], spans["I will check that"]
    assert alice.color is not None
    assert bob.color is not None
    assert (alice.color.name, bob.color.name) == (colour(0), colour(1))
    assert spans["**Bob [1]:**"].dim
    assert not bob.dim


def test_a_problem_and_a_name_can_be_hostile_too():
    about = ViewInfo(
        problem="[/p]\x1b[31m", names=("[/n]\x07",), model="[/m]", layout="[/l]", visibility="v"
    )
    shown = "\n".join(screen([text(0, "fine")], about))
    assert all(sign in shown for sign in ("[/p]␛[31m", "[/n]␇ · 1", "[/m]", "[/l]"))


@pytest.mark.parametrize("width", [40, 80])
def test_wide_characters_keep_the_borders_straight(width: int):
    lines = screen([text(0, "日本語の文章" * 40), text(1, "🙂" * 99)], width=width)
    assert {cell_len(line) for line in lines if "│" in line} == {width}
    assert "日" in "".join(lines)


def test_a_finisher_has_no_panel_before_it_writes():
    joined = Joined(step=3, worker=3, name="Dave")
    events = [*short_run(), joined, text(3, "Hello.")]
    titles = [line for line in screen(events, width=130) if "\u256d" in line]
    assert [line.count("\u256d") for line in titles] == [1, 3]  # the history, the workers
    assert "Dave" in titles[1]
    finished = "\n".join(screen([*events, text(2, "The answer")], width=130))
    assert all(f"\u256d\u2500 {name}" in finished for name in ("Alice", "Bob", "Carol", "Dave"))


def test_a_refusal_is_a_line_of_its_own():
    refused = Refused(step=3, reason="Nobody is called 'Zoe'.")
    lines = screen([*short_run(), refused])
    assert lines[-2].startswith("refused: Nobody is called 'Zoe'.")
    assert lines[-1].startswith("step 3")
    assert len(lines) <= 24
    assert "finished paragraphs" not in "\n".join(screen([refused]))
