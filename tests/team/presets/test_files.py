"""Teams as data: those of the package, and files of one's own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hogwild_dist.errors import ConfigError
from hogwild_dist.model.loader import prepare_model
from hogwild_dist.run.run import Run
from hogwild_dist.session.answers import AnswerForm
from hogwild_dist.team.answer_policy import AnswerPolicy
from hogwild_dist.team.layout import load_layout
from hogwild_dist.team.presets import TEAMS, load_team
from hogwild_dist.team.presets.files import team_text
from hogwild_dist.team.team import Limits
from tests.tiny_engine import tiny_engine, tiny_network
from tests.tiny_tokenizer import byte_tokenizer

TOKENIZER = byte_tokenizer()


@pytest.mark.parametrize("name", TEAMS)
def test_every_team_runs(name: str) -> None:
    plan = load_team(name)
    policy = AnswerPolicy(
        form=AnswerForm.parse("zzz"),
        by=plan.file.finish.by,
        vote=plan.file.finish.vote,
        finisher_tokens=4,
    )
    team = replace(plan.team(), limits=Limits(max_tokens=6), answer_policy=policy)
    model = prepare_model(tiny_network(16_384).double(), name="tiny")
    engine = tiny_engine(model, cache_tokens=16_384)
    run = Run(engine, "Why is the sky blue?", team)
    assert list(run)
    assert run.result.end_reason == "all_stopped"
    assert len(run.result.answers) == (2 if name == "independent" else 1)


def test_who_sees_whom_in_the_roles() -> None:
    writer = load_team("thinker-writer").team().spec("Why?", TOKENIZER)
    assert writer.workers[1].view == ("common", "header", "w0", "brief1", "separator", "w1")
    assert writer.workers[0].view == ("common", "brief0", "w0")
    assert writer.until == (1,)
    coordinator = load_team("coordinator").team(4)
    assert coordinator.names == ("Coordinator", "Alice", "Bob", "Carol")
    briefs = coordinator.texts_and_spec("Why?", TOKENIZER)[0]
    assert "alone states the final answer" in briefs["common"]
    assert "Give every colleague a part" in briefs["brief0"]
    assert "Take the part" in briefs["brief3"]


def test_names_of_one_s_own() -> None:
    assert load_team("coordinator").team(names=("Zoe",)).names == ("Coordinator", "Zoe")
    assert load_team("peers").team(3).names == ("Alice", "Bob", "Carol")


def test_a_file_of_one_s_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        """
        layout = "interleaved"
        size = 3
        [[workers]]
        name = "Lea"
        sampling = { temperature = 0.5 }
        max_tokens = 9
        """
    )
    plan = load_team(str(path))
    team = plan.team()
    assert plan.name == "mine"
    assert team.names == ("Lea", "Alice", "Bob")
    assert team.layout.name == "interleaved"
    assert team.member("Lea").sampling.temperature == 0.5
    assert team.member("Lea").max_tokens == 9


def test_a_team_is_as_large_as_its_roles_where_its_file_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("".join(f"[[workers]]\nname = '{name}'\n" for name in ("Lea", "Max", "Zoe")))
    assert load_team(str(path)).team().names == ("Lea", "Max", "Zoe")
    path.write_text("[[workers]]\nname = 'Lea'\n")
    assert load_team(str(path)).team().names == ("Lea", "Alice")


def test_others_join_a_team_with_roles_where_its_file_speaks_of_them(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(team_text("debate") + "\n[others]\n")
    assert load_team(str(path)).team(3).names == ("Pro", "Contra", "Alice")
    assert load_team("coordinator").team(4).names[1:] == ("Alice", "Bob", "Carol")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("= 1", "cannot be used"),
        ("colour = 'red'", "has a bad 'colour': there is no such key; `hogwild"),
        ("[[workers]]\nrole = 'x'", "has a bad 'workers.0.name': it is missing"),
        ("[[workers]]\nname = 1", "has a bad 'workers.0.name': it must be a text"),
        ("workers = 1", "has a bad 'workers': it must be a list"),
        ("others = 1", "has a bad 'others': it must be a table"),
        ("size = 17", "has a bad 'size': it must be 16 or less"),
        ("size = 0", "has a bad 'size': it must be 1 or more"),
        ("size = 1.5", "has a bad 'size': it must be a whole number"),
        ("size = '3'", "has a bad 'size': it must be a whole number"),
        ("[others]\nmax_tokens = '3'", "has a bad 'others.max_tokens': it must be a whole number"),
        (
            "[[workers]]\nname = 'Lea'\nsampling.top_p = 5.0",
            "bad.toml' has a bad worker 'Lea': top_p is 5.0; it must be above 0",
        ),
        ("[others.sampling]\nmin_p = 2", r"has a bad \[others\]: min_p is 2"),
        ("size = 'x'", "has a bad 'size': it must be a whole number"),
        ("layout = 1", "has a bad 'layout': it must be a text or a table"),
        ("[finish]\nvote = 'x'", "has a bad 'finish.vote': it must be true or false"),
        (
            "[others.sampling]\ntop_p = 'x'",
            "has a bad 'others.sampling.top_p': it must be a number",
        ),
        (
            "[layout.everyone]\nview = ['own']\nzoo = 1",
            "bad.toml' cannot be used: a rule has no 'zoo', but",
        ),
        ("[layout.everyone]\nview = ['common']", "bad.toml' cannot be used: The view .* must end"),
        ("layout = 'zoo'", "Unknown layout 'zoo'"),
        ("[layout]\nname = 'x'", "has no 'everyone'"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        load_team(str(path))


def test_a_file_whose_name_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a\udcff.toml"
    path.write_text("size = 1")
    with pytest.raises(ConfigError, match=r"A team's name contains '.udcff'"):
        load_team(str(path))


def test_bad_names_and_counts() -> None:
    with pytest.raises(ConfigError, match="Unknown team 'zoo'; use peers"):
        load_team("zoo")
    with pytest.raises(ConfigError, match=r"has 2 roles \(Solver, Critic\) and 1 workers"):
        load_team("solver-critic").team(1)
    for more in ({"count": 5}, {"names": ("Zoe",)}):
        with pytest.raises(ConfigError, match=r"\(Solver, Critic\) and no .[others]"):
            load_team("solver-critic").team(**more)
    with pytest.raises(ConfigError, match="17 workers were requested"):
        load_team("peers").team(17)


def test_a_team_that_waits_for_nobody(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("until = ['Zoe']")
    with pytest.raises(ConfigError, match="until 'Zoe' has stopped"):
        load_team(str(path)).team()


def test_an_answer_by_nobody_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[finish]\nby = ['Zoe']")
    with pytest.raises(ConfigError, match=r"lets 'Zoe' answer .*its workers are Alice, Bob"):
        load_team(str(path)).team()
    assert load_team(str(path)).team(names=("Zoe", "Lea")).names == ("Zoe", "Lea")


@pytest.mark.parametrize(("what", "load"), [("team", load_team), ("layout", load_layout)])
def test_files_that_are_missing_or_no_text_are_called_so(
    tmp_path: Path, what: str, load: Callable[[str], object]
) -> None:
    for name in ("x.toml", str(tmp_path / "x")):
        with pytest.raises(ConfigError, match=f"The {what} file '{name}' does not exist; use "):
            load(name)
    path = tmp_path / "bad.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load(str(path))
