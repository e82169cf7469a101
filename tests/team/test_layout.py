from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hogwild_dist.errors import ConfigError
from hogwild_dist.team.layout import LAYOUTS, Layout, Rule, load_layout

NAMES = ["Alice", "Bob", "Carol"]


def test_the_views_of_the_paper() -> None:
    views = {name: layout.views(NAMES)[1] for name, layout in LAYOUTS.items()}
    assert views == {
        "contiguous": ("common", "w0", "w2", "separator", "w1"),
        "interleaved": ("common", "w1"),
        "combined": ("common", "header", "w0", "w2", "separator", "w1"),
        "independent": ("common", "w1"),
    }
    moves = {name: layout.everyone.paragraphs_to for name, layout in LAYOUTS.items()}
    assert moves == {
        "contiguous": None,
        "interleaved": "common",
        "combined": "common",
        "independent": None,
    }


@given(st.sampled_from(sorted(LAYOUTS)), st.integers(1, 16))
def test_every_view_ends_with_the_own_block_and_names_none_twice(name: str, count: int) -> None:
    views = LAYOUTS[name].views([str(i) for i in range(count)])
    assert [view[-1] for view in views] == [f"w{i}" for i in range(count)]
    assert all(len(set(view)) == len(view) for view in views)


CRITIC = """
name = "critic"
[everyone]
view = ["common", "header", "others", "separator", "own"]
paragraphs_to = "common"
[workers.Carol]
view = ["common", "notes", "header", "others", "separator", "own"]
seen = false
paragraphs_to = "notes"
"""


def test_a_critic_sees_everybody_and_is_seen_by_nobody(tmp_path: Path) -> None:
    path = tmp_path / "critic.toml"
    path.write_text(CRITIC)
    layout = load_layout(str(path))
    alice, bob, carol = layout.views(NAMES)
    assert alice == ("common", "header", "w1", "separator", "w0")
    assert bob == ("common", "header", "w0", "separator", "w1")
    assert carol == ("common", "notes", "header", "w0", "w1", "separator", "w2")
    assert layout.rule("Carol").paragraphs_to == "notes"
    assert layout.shared_blocks(NAMES) == ["common", "header", "separator", "notes"]


@pytest.mark.parametrize("name", sorted(LAYOUTS))
@pytest.mark.parametrize("briefed", [set(), {"Bob"}])
def test_newcomers_are_inserted_where_a_larger_team_would_have_them(
    name: str, briefed: set[str]
) -> None:
    layout = LAYOUTS[name]
    larger = layout.views([*NAMES, "Dave"], briefed)
    places = [view.index("w3") if "w3" in view else None for view in larger[:3]]
    assert layout.newcomers_at(NAMES, briefed) == places


def test_a_layout_can_hide_newcomers() -> None:
    hidden = Rule(view=("common", "others", "own"), seen=False)
    shown = Rule(view=("common", "others", "own"))
    layout = Layout(name="x", everyone=hidden, workers=dict.fromkeys(NAMES, shown))
    assert layout.views(NAMES)[0] == ("common", "w1", "w2", "w0")
    assert layout.newcomers_at(NAMES) == [None] * 3
    layout = Layout(name="x", everyone=shown, workers={"Bob": hidden})
    assert layout.newcomers_at(NAMES)[0] == 2


def test_one_worker_can_be_shown_by_name() -> None:
    layout = Layout(name="x", everyone=Rule(view=("worker:Bob", "own")),
                    workers={"Bob": Rule(view=("common", "own"))})  # fmt: skip
    assert layout.views(NAMES)[2] == ("w1", "w2")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[everyone]\nview = ['own', 'common']", "cannot be used: The view .* must end with 'own'"),
        ("[everyone]\nview = []", "cannot be used: The view .* must end with 'own'"),
        ("[everyone]\nview = ['own']\nparagraphs_to = 'own'", "cannot be used: Paragraphs cannot"),
        ("name = 'x'", "has no 'everyone'"),
        ("[everyone]\nview = ['own']\ncolour = 1", "cannot be used: a rule has no 'colour'"),
        ("not toml", "cannot be used"),
    ],
)
def test_bad_layout_files_are_named(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"Layout file '{path}' {sentence}"):
        load_layout(str(path))


def test_an_unknown_layout_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'ring'; use contiguous, interleaved, combined"):
        load_layout("ring")


@pytest.mark.parametrize(
    ("layout", "sentence"),
    [
        (Layout(name="x", everyone=Rule(view=("own",)), workers={"Zoe": Rule(view=("own",))}),
         "has a rule for 'Zoe'"),
        (Layout(name="x", everyone=Rule(view=("worker:Zoe", "own"))), "the block of 'Zoe'"),
        (Layout(name="x", everyone=Rule(view=("others", "others", "own"))), "a block twice"),
    ],
)  # fmt: skip
def test_layouts_that_do_not_fit_the_team_are_refused(layout: Layout, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        layout.views(NAMES)


@pytest.mark.parametrize("target", ["own", "others", "worker:Ben"])
def test_paragraphs_cannot_move_to_a_worker(target: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot move to '{target}', which workers write"):
        Rule(view=("common", "own"), paragraphs_to=target)


@pytest.mark.parametrize(
    "text",
    [
        'everyone = {view = [1, "own"]}',
        'workers = 3\n[everyone]\nview = ["own"]',
        '[everyone]\nview = ["common", "own"]\nparagraphs_to = ["common"]',
    ],
)
def test_layout_files_with_wrong_types_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "l.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="cannot be used"):
        load_layout(str(path))


def test_a_name_that_no_file_can_have_is_an_unknown_layout() -> None:
    with pytest.raises(ConfigError, match="Unknown layout"):
        load_layout("x" * 300)
