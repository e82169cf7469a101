from dataclasses import replace
from pathlib import Path

import pytest

from hogwild_dist.config import EngineConfig, SamplingConfig
from hogwild_dist.errors import ConfigError
from hogwild_dist.layout import LAYOUTS, Layout, Rule
from hogwild_dist.prompts import load_prompts
from hogwild_dist.spec import RedundancyCheck
from hogwild_dist.team import Limits, Team, default_names
from tests.tiny_tokenizer import BOS, EOS, byte_tokenizer

TOKENIZER = byte_tokenizer()
SYSTEM_AND_USER = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
USER_ONLY = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
)


def texts(team: Team, problem: str = "Why?", template: str | None = None) -> dict[str, str]:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    return team.texts_and_spec(problem, tokenizer)[0]


def test_the_default_team_of_two() -> None:
    spec = Team(names=default_names(2)).spec("Why is the sky blue?", TOKENIZER)
    assert [worker.name for worker in spec.workers] == ["Alice", "Bob"]
    assert spec.workers[0].view == ("common", "header", "w1", "separator", "w0")
    assert [worker.paragraphs_to for worker in spec.workers] == ["common", "common"]
    common = TOKENIZER.decode(spec.shared["common"])
    assert "Why is the sky blue?" in common
    assert "Alice" in common
    assert "Bob" in common
    assert spec.paragraph_prefix.replace("{worker}", "Al").replace("{index}", "2") == "**Al [2]:**"
    first = [TOKENIZER.decode(worker.first_input) for worker in spec.workers]
    assert first[0].startswith("**Alice [1]:** ")
    assert first[1].startswith("**Bob [1]:** ")
    assert not any(text[-1].isspace() for text in first)
    assert spec.redundancy is not None


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
@pytest.mark.parametrize("count", [1, 2, 16])
def test_every_layout_and_size_has_texts(layout: Layout, count: int) -> None:
    spec = Team(names=default_names(count), layout=layout).spec("Why?", TOKENIZER)
    assert len(spec.workers) == count
    assert all(worker.first_input for worker in spec.workers)


def test_who_writes_paragraphs_may_not_end_the_text() -> None:
    for name, forbidden in (("combined", (3, BOS, EOS)), ("contiguous", (3,))):
        team = Team(
            names=("A", "B"), layout=LAYOUTS[name], sampling=SamplingConfig(forbidden_ids=(3,))
        )
        spec = team.spec("Why?", TOKENIZER)
        assert set(spec.workers[0].sampling.forbidden_ids) == set(forbidden)
        assert spec.end_ids == {EOS}


def test_chat_templates_with_without_and_against_a_system_role() -> None:
    team = Team(names=("A", "B"))
    with_system = texts(team, template=SYSTEM_AND_USER)["common"]
    assert with_system.startswith("[system]")
    assert "[user]" in with_system
    assert "[assistant]" in with_system
    user_only = texts(team, template=USER_ONLY + SYSTEM_AND_USER)["common"]
    assert user_only.startswith("[user]")
    assert "A and B" in user_only or "A, B" in user_only
    assert "[" not in texts(team, template=None)["common"].split("Why?")[0]


def test_a_prompts_file_of_one_s_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        """
        user = "Q: {{ problem }}"
        paragraph_prefix = "<{{ worker }}{{ index }}>"
        [blocks]
        common = " to {{ names | join('+') }}:"
        header = "h"
        separator = "s"
        [worker]
        first = "{{ worker }} first, {{ problem }}"
        [layouts.contiguous.blocks]
        separator = "other"
        """
    )
    found = texts(Team(names=("A", "B"), prompts=load_prompts("combined", path)))
    assert found["common"] == "Q: Why?\n\n to A+B:"
    assert found["w1"] == "B first, Why?"
    assert load_prompts("combined", path).redundancy is None
    assert load_prompts("contiguous", path).blocks["separator"] == "other"


def test_model_and_user_text_is_never_a_template() -> None:
    found = texts(Team(names=("A", "B")), problem="{{ names }} {% bad")
    assert "{{ names }} {% bad" in found["common"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("user = ''", "has no 'paragraph_prefix'"),
        ("= 1", "cannot be used"),
        ("user = ''\nparagraph_prefix = ''\nblocks = 3\nworker = 4", "cannot be used"),
    ],
)
def test_bad_prompts_files_are_named(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        load_prompts("combined", path)
    with pytest.raises(ConfigError, match="No such file"):
        load_prompts("combined", tmp_path / "none.toml")


@pytest.mark.parametrize("template", ["{{ wroker }}", "{{ worker", "{% if %}"])
def test_a_template_with_a_mistake_is_named(tmp_path: Path, template: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"user = 'x'\nparagraph_prefix = 'p'\n[blocks]\n[worker]\nfirst = '{template}'")
    prompts = load_prompts("independent", path)
    with pytest.raises(ConfigError, match=r"cannot be filled in: .*it may use names, problem"):
        prompts.first_text("A", "Why?", ["A"])


@pytest.mark.parametrize(
    ("team", "problem", "sentence"),
    [
        (Team(names=("A",)), "  \n", "The problem is empty"),
        (Team(names=()), "x", "A team of 0 was asked for"),
        (Team(names=tuple("abcdefghijklmnopq")), "x", "A team of 17"),
        (Team(names=("A", "A")), "x", "Two workers are called 'A'"),
        (Team(names=("A", " ")), "x", "A worker is called ' '"),
        (Team(names=("A", "{b}")), "x", "without braces"),
        (
            Team(names=("A",), layout=Layout(name="x", everyone=Rule(view=("zoo", "own")))),
            "x",
            "shows the block 'zoo'",
        ),
    ],
)
def test_bad_teams_are_refused(team: Team, problem: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        team.spec(problem, TOKENIZER)


@pytest.mark.parametrize("count", [0, 17, -1])
def test_default_names_have_limits(count: int) -> None:
    with pytest.raises(ConfigError, match=f"{count} workers were asked for"):
        default_names(count)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"max_total_tokens": -2}, "max_total_tokens is -2"),
        ({"stop_strings": ("",)}, "stop string is empty"),
    ],
)
def test_bad_limits_are_named(fields: dict, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Limits(**fields)


@pytest.mark.parametrize("field", ["cache_tokens", "max_step_tokens", "prefill_chunk"])
def test_bad_sizes_are_named(field: str) -> None:
    with pytest.raises(ConfigError, match=f"{field} is 0; it must be at least 1"):
        EngineConfig(**{field: 0})
    with pytest.raises(ConfigError, match=f"{field} is 1{'0' * 30}; it must be at most"):
        EngineConfig(**{field: 10**30})


def test_the_default_question_is_the_reference_s_interval() -> None:
    check = load_prompts("combined").redundancy
    assert isinstance(check, RedundancyCheck)
    assert check.every == 256


def test_halves_of_characters_are_refused() -> None:
    """What a shell's bytes that are not UTF-8 become."""
    with pytest.raises(ConfigError, match=r"The problem holds .* which is no character"):
        texts(Team(names=("Ann",)), problem="caf\udce9")
    with pytest.raises(ConfigError, match="A worker's name holds"):
        Team(names=("Ann\udce9",)).check()


def test_a_block_may_be_empty_where_the_prompts_say_so() -> None:
    prompts = load_prompts("combined")
    header = "{% if names|length > 1 %}Others:{% endif %}"
    prompts = replace(prompts, blocks={**prompts.blocks, "header": header})
    assert texts(Team(names=("Ann",), prompts=prompts))["header"] == ""


def test_a_template_that_cannot_be_evaluated_is_named() -> None:
    prompts = replace(load_prompts("combined"), paragraph_prefix="{{ index + 1 }}")
    with pytest.raises(ConfigError, match=r"'{{ index \+ 1 }}' cannot be filled in"):
        texts(Team(names=("Ann",), prompts=prompts))


def test_the_model_s_own_end_tokens_count() -> None:
    layout = LAYOUTS["contiguous"]
    spec = Team(names=("Ann",), layout=layout).spec("Why?", TOKENIZER, end_ids=frozenset({7}))
    assert spec.end_ids == {7, EOS}
    spec = Team(names=("Ann",)).spec("Why?", TOKENIZER, end_ids=frozenset({7}))
    assert set(spec.workers[0].sampling.forbidden_ids) == {7, BOS, EOS}
