import pytest

from hogwild_dist.config import EngineConfig, SamplingConfig
from hogwild_dist.errors import ConfigError
from hogwild_dist.session.answers import AnswerForm
from hogwild_dist.session.events import Answer
from hogwild_dist.session.spec import RedundancyCheck
from hogwild_dist.team.answer_policy import AnswerPolicy, team_answer
from hogwild_dist.team.layout import LAYOUTS, Layout, Rule
from hogwild_dist.team.prompts import load_prompts
from hogwild_dist.team.team import Limits, Team, default_names
from hogwild_dist.team.worker_profile import WorkerProfile
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


def test_model_and_user_text_is_never_a_template() -> None:
    found = texts(Team(names=("A", "B")), problem="{{ names }} {% bad")
    assert "{{ names }} {% bad" in found["common"]


@pytest.mark.parametrize(
    ("team", "problem", "sentence"),
    [
        (Team(names=("A",)), "  \n", "The problem is empty"),
        (Team(names=()), "x", "A team of 0 was requested"),
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
    with pytest.raises(ConfigError, match=f"{count} workers were requested"):
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
    check = Team(names=("A", "B")).spec("Why?", TOKENIZER).redundancy
    assert isinstance(check, RedundancyCheck)
    assert (check.every, check.counted) == (256, "team")


def test_halves_of_characters_are_refused() -> None:
    """What a shell's bytes that are not UTF-8 become."""
    with pytest.raises(ConfigError, match=r"The problem contains .* which is not a character"):
        texts(Team(names=("Ann",)), problem="caf\udce9")
    with pytest.raises(ConfigError, match="A worker's name contains"):
        Team(names=("Ann\udce9",)).check()


def test_the_model_s_own_end_tokens_count() -> None:
    layout = LAYOUTS["contiguous"]
    spec = Team(names=("Ann",), layout=layout).spec("Why?", TOKENIZER, end_ids=frozenset({7}))
    assert spec.end_ids == {7, EOS}
    spec = Team(names=("Ann",)).spec("Why?", TOKENIZER, end_ids=frozenset({7}))
    assert set(spec.workers[0].sampling.forbidden_ids) == {7, BOS, EOS}


def test_a_worker_s_own_role_brief_and_sampling() -> None:
    members = {
        "B": WorkerProfile(role="checks the sums", brief="Doubt everything.", max_tokens=7),
        "C": WorkerProfile(first="C says", sampling=SamplingConfig(temperature=0.5)),
    }
    for name, layout in LAYOUTS.items():
        team = Team(names=("A", "B", "C"), members=members, layout=layout)
        found, spec = team.texts_and_spec("Why?", TOKENIZER)
        assert ("B: checks the sums" in found["common"]) == (name != "independent")
        assert "Doubt everything." in found["brief1"]
        assert [("brief1" in worker.view) for worker in spec.workers] == [False, True, False]
        assert "brief0" not in spec.shared
        assert [worker.max_tokens for worker in spec.workers] == [256, 7, 256]
        assert [worker.sampling.temperature for worker in spec.workers] == [0, 0, 0.5]
        assert found["w2"] == "C says"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"role": "a\nb"}, "has several lines"),
        ({"first": ""}, "first text is empty"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"brief": "caf\udce9"}, "A brief contains"),
    ],
)
def test_bad_members_are_refused(fields: dict, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        WorkerProfile(**fields)


def test_a_member_who_is_not_in_the_team_is_refused() -> None:
    with pytest.raises(ConfigError, match="describes 'Zoe'"):
        Team(names=("A",), members={"Zoe": WorkerProfile()}).check()


def test_headings_are_forbidden_where_they_are_one_token() -> None:
    prompts = load_prompts("combined").with_settings(forbid=("a", "ab"))
    spec = Team(names=("A",), prompts=prompts).spec("Why?", TOKENIZER)
    assert set(spec.workers[0].sampling.forbidden_ids) == {
        BOS, EOS, *TOKENIZER.encode("a", add_special_tokens=False)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("form", "end"),
    [
        ("boxed", "**Final answer:** \\boxed{"),
        ("code", "```python\n"),
        ("text", "answered: Why?\n\n**Answer:**"),
        ("x", "**Final answer:**"),
    ],
)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_the_finisher_sees_all_and_begins_the_answer(form: str, end: str, layout: Layout) -> None:
    policy = AnswerPolicy(form=AnswerForm.parse(form))
    spec = Team(names=("A", "B"), layout=layout, answer_policy=policy).spec("Why?", TOKENIZER)
    (finisher,) = spec.finishers
    header = ("header",) if layout.name == "combined" else ()
    assert finisher.view == ("common", *header, "w0", "w1", "finisher0")
    assert TOKENIZER.decode(finisher.first_input).endswith(end)
    told = TOKENIZER.decode(spec.shared["common"])
    assert ("\\boxed{}" in told) == (form == "boxed")


def test_in_a_vote_everybody_is_asked() -> None:
    policy = AnswerPolicy(form=AnswerForm.parse("boxed"), vote=True)
    layout = LAYOUTS["independent"]
    spec = Team(names=("A", "B"), layout=layout, answer_policy=policy).spec("Why?", TOKENIZER)
    assert [worker.view for worker in spec.finishers] == [
        ("common", "w0", "finisher0"), ("common", "w1", "finisher1")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"by": ("Zoe",)}, "'Zoe' is to answer and is not in the team"),
        ({"budgets": (64, 512)}, "budget of 512 steps cannot be reached with 256"),
        ({"budgets": (3, 2)}, "ascending numbers"),
        ({"budgets": (3,), "finisher_tokens": 0}, "Budgets need a finisher"),
        ({"finisher_tokens": -1}, "finisher_tokens is -1"),
    ],
)
def test_bad_finishes_are_refused(fields: dict, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Team(
            names=("A",), answer_policy=AnswerPolicy(form=AnswerForm.parse("boxed"), **fields)
        ).check()


def said(
    answer: str | None, after: int, budget: int | None = None, of: int | None = None
) -> Answer:
    return Answer(step=0, worker=of or 0, name="", of=of, answer=answer, after=after, budget=budget)


def test_the_answer_of_a_team() -> None:
    stated = [said("1", 8, 8), said(None, 16, 16), said("3", 20)]
    assert [team_answer(stated, budget=b) for b in (8, 16, 32, None)] == ["1", None, "3", "3"]
    assert team_answer([]) is None


def test_the_answer_of_a_vote() -> None:
    votes = [said("1", 5, of=0), said("2", 9, of=1), said("2", 12, 12, of=2), said("3", 30, of=2)]
    assert team_answer(votes, vote=True, budget=6) == "1"
    assert team_answer(votes, vote=True, budget=12) == "2"
    assert team_answer(votes, vote=True) == "1"
