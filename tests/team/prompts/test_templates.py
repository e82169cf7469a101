"""Folders of templates: what a user's folder replaces, and what is wrong with it."""

from dataclasses import replace
from pathlib import Path

import pytest

from hogwild_dist.errors import ConfigError
from hogwild_dist.team.layout import LAYOUTS, Layout, Rule
from hogwild_dist.team.prompts import Prompts, load_prompts
from hogwild_dist.team.prompts.templates import default_folder, files
from hogwild_dist.team.team import Team, default_names
from tests.tiny_tokenizer import byte_tokenizer

TOKENIZER = byte_tokenizer()


def folder(root: Path, **texts: str) -> Path:
    """A folder of templates; ``__`` in a name is a slash, and ``prompts`` is the settings."""
    for name, text in texts.items():
        suffix = ".toml" if name == "prompts" else ".jinja"
        place = root / (name.replace("__", "/") + suffix)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return root


def texts(prompts: Prompts, layout: str = "combined", problem: str = "Why?") -> dict[str, str]:
    team = Team(names=("A", "B"), layout=LAYOUTS[layout], prompts=prompts)
    return team.texts_and_spec(problem, TOKENIZER)[0]


def test_a_folder_replaces_what_it_holds(tmp_path: Path) -> None:
    own = folder(
        tmp_path,
        user="Q: {{ problem }}",
        instructions="{% include 'extra.jinja' %}",
        extra="Be {{ person }}.",
        blocks__separator="mine",
        layouts__contiguous__blocks__separator="other",
        prompts='person = "first"\n[redundancy]\nevery = 3',
    )
    combined = load_prompts("combined", own)
    found = texts(combined)
    assert found["common"] == "Be first.\n\nQ: Why?\n\n"
    assert found["separator"] == "mine"
    assert found["w1"].startswith("**B [1]:**")
    assert combined.settings.redundancy.every == 3
    assert texts(load_prompts("contiguous", own), "contiguous")["separator"] == "other"


def test_one_file_gives_a_block_of_a_layout_s_own_a_text(tmp_path: Path) -> None:
    own = load_prompts("critic", folder(tmp_path, blocks__notes="Notes of {{ names[1] }}:"))
    rule = Rule(view=("common", "notes", "own"), paragraphs_to="notes")
    team = Team(names=("A", "B"), layout=Layout(name="critic", everyone=rule), prompts=own)
    found = team.texts_and_spec("Why?", TOKENIZER)[0]
    package = replace(team, prompts=load_prompts("critic")).texts_and_spec("Why?", TOKENIZER)[0]
    assert found == package | {"notes": "Notes of B:"}


def test_an_exported_folder_says_the_same(tmp_path: Path) -> None:
    for path, text in files(default_folder()):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    for layout in LAYOUTS:
        assert texts(load_prompts(layout, tmp_path), layout) == texts(load_prompts(layout), layout)


@pytest.mark.parametrize("person", ["first", "second"])
@pytest.mark.parametrize("examples", [True, False])
def test_styles(person: str, examples: bool) -> None:
    prompts = load_prompts("combined").with_settings(person=person, examples=examples)
    common = texts(prompts)["common"]
    assert ("We are a team" in common) == (person == "first")
    assert ("You are a team" in common) == (person == "second")
    assert ("Correcting each other" in common) == examples
    assert "\n\n\n\n" not in common


@pytest.mark.parametrize("form", ["system", "user"])
def test_the_message_that_carries_the_rules(form: str) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    prompts = load_prompts("combined").with_settings(message=form)
    common = Team(names=("A", "B"), prompts=prompts).texts_and_spec("Why?", tokenizer)[0]["common"]
    assert common.startswith(f"[{form}]You are a team")
    assert ("[system]" in common) == (form == "system")


@pytest.mark.parametrize(
    ("template", "setting", "opened"),
    [
        ("{{ messages[0].content }}<think>", "auto", ""),
        ("{{ messages[0].content }}{# <think> #}", "auto", "<think>\n"),
        ("{{ messages[0].content }}", "auto", None),
        ("{{ messages[0].content }}", "on", "<think>\n"),
        ("{{ messages[0].content }}{# <think> #}", "off", None),
    ],
)
def test_reasoning_tags_are_opened_once(template: str, setting: str, opened: str | None) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    tokenizer.add_tokens(["<think>", "</think>"])
    prompts = load_prompts("combined").with_settings(thinking=setting)
    found, spec = Team(names=("A", "B"), prompts=prompts).texts_and_spec("Why?", tokenizer)
    assert found["common"].count("<think>") == (opened is not None)
    assert found["common"].endswith("<think>\n") == bool(opened)
    end = tokenizer.convert_tokens_to_ids("</think>")
    assert (end in spec.workers[0].sampling.forbidden_ids) == (opened is not None)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"frist": "x"}, "contains 'frist.jinja', which nothing uses"),
        ({"prompts": "persn = 'first'"}, "has a bad 'persn': there is no such key"),
        ({"prompts": "person = 'third'"}, "has a bad 'person': it must be 'first' or 'second'"),
        (
            {"prompts": "[redundancy]\nevery = -1"},
            "has a bad 'redundancy.every': it must be 0 or more",
        ),
        ({"prompts": "= 1"}, "is not TOML"),
        ({"extra": "{% if"}, "'extra.jinja' of .* is malformed"),
        ({"extra": "{{" + "(" * 3000}, "'extra.jinja' of .* is malformed: maximum recursion"),
        ({"extra": "{{" + "1" * 5000}, "'extra.jinja' of .* is malformed: Exceeds the limit"),
    ],
)
def test_bad_folders_are_named(tmp_path: Path, files: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_prompts("combined", folder(tmp_path, **files))


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a folder; make one with"):
        load_prompts("combined", tmp_path / "none")
    (tmp_path / "first.jinja").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_prompts("combined", tmp_path)


@pytest.mark.parametrize(
    ("template", "end"),
    [
        ("{{ wroker }}", r"'wroker' is undefined; it may use .*worker\."),
        ("{{ worker", r" in line 1\."),
        ("\n{% zoo %}", r"unknown tag 'zoo' in line 2\."),
        ("{{ index + 1 }}", r"'index' is undefined; it may use .*worker\."),
        ("{% include 'first.jinja' %}", "recursion depth.*"),
        ("{{ [].pop() }}", r"pop from empty list\."),
        ("{{ {}.pop('x') }}", r"'x'\."),
        ("{{ 'x'.encode('zz') }}", r"unknown encoding: zz\."),
    ],
)
def test_a_template_with_a_mistake_is_named(tmp_path: Path, template: str, end: str) -> None:
    prompts = load_prompts("combined", folder(tmp_path, first=template))
    with pytest.raises(ConfigError, match=rf"'first.jinja' of .* cannot be filled in: .*{end}$"):
        texts(prompts)


COUNTED = "{% for i in range(4000) %}"
DOUBLE = "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"


@pytest.mark.parametrize(
    "template",
    [
        COUNTED + COUNTED + "{% endfor %}{% endfor %}",
        "{% for i in names %}" * 9 + "{% endfor %}" * 9,
        COUNTED + "{% for j in range(4000) if false %}{% endfor %}{% endfor %}",
        COUNTED + "x" * 2000 + "{% endfor %}",
        COUNTED + "{{ 'x' * 2000 }}{% endfor %}",
        COUNTED + "{% set x = 'x' ~ '" + "x" * 2000 + "' %}{% endfor %}",
        COUNTED + "{% set x = 'x'.ljust(2000) %}{% endfor %}",
        "{% set n = namespace(x='xx') %}" + COUNTED + "{% set n.x = n.x + n.x %}{% endfor %}",
        "{% set n = namespace(x=[1]) %}" + COUNTED + "{% set n.x = n.x + n.x %}{% endfor %}",
        DOUBLE + "{{ f(40) }}",
        "{% set n = namespace(x=0) %}{% include 'twice.jinja' %}",
        "{{ 'x' * 10 ** 10 }}",
        "{{ 9 ** (9 ** 9) }}",
        "{% set n = namespace(x=9) %}" + COUNTED + "{% set n.x = n.x * n.x %}{% endfor %}",
    ],
)
def test_a_template_that_does_too_much_is_ended(tmp_path: Path, template: str) -> None:
    twice = "{% set n.x = n.x + 1 %}{% if n.x < 10 ** 9 %}{% include ['none', 'twice.jinja'] %}"
    files = {"first": template, "twice": twice + "{% include 'twice.jinja' %}{% endif %}"}
    prompts = load_prompts("combined", folder(tmp_path, **files))
    fault = "it writes and repeats more than 4194304 characters|maximum recursion depth"
    with pytest.raises(ConfigError, match=rf"'first.jinja' of .* cannot be filled in: ({fault})"):
        prompts.render("first", worker="x", names=list("abcdefgh"))


def test_a_long_problem_may_be_repeated_to_a_few_workers(tmp_path: Path) -> None:
    first = "{% for name in names %}{{ name ~ ': ' }}{{ problem }} {{ 2 * 3 }}{% endfor %}"
    prompts = load_prompts("combined", folder(tmp_path, first=first))
    text = str(prompts.render("first", names=["A", "B"], problem="x" * 1_000_000))
    assert text == "".join(f"{name}: {'x' * 1_000_000} 6" for name in "AB")


@pytest.mark.parametrize("filled", ["{{ x }}", "{{ x[1:] }}", "{{ x[:-1] }}", "{{ x | reverse }}"])
def test_what_was_typed_stays_so_in_a_part_that_is_changed(tmp_path: Path, filled: str) -> None:
    first = f"{{% set x %}}{{{{ worker }}}}{{% endset %}}{filled} and {{{{ worker }}}}"
    prompts = load_prompts("combined", folder(tmp_path, first=first))
    typed = [piece for piece, typed in prompts.render("first", worker="<x>").pieces if typed]
    assert len(typed) == 2
    assert set(typed[0]) <= set("<x>")
    assert typed[1] == "<x>"


@pytest.mark.parametrize("name", ["reverse", "truncate(2, true, '', 0)"])
def test_a_filter_over_filled_in_text_that_hides_who_typed_is_refused(
    tmp_path: Path, name: str
) -> None:
    first = f"{{% filter {name} %}}{{{{ worker }}}}!{{% endfilter %}} {{{{ worker }}}}"
    prompts = load_prompts("combined", folder(tmp_path, first=first))
    with pytest.raises(ConfigError, match=r"'first.jinja' of .* changes text that is filled in"):
        prompts.render("first", worker="<x>")


def test_an_include_that_is_not_there_is_named(tmp_path: Path) -> None:
    prompts = load_prompts("combined", folder(tmp_path, first="{% include 'zoo.jinja' %}"))
    with pytest.raises(ConfigError, match=r"includes 'zoo.jinja', which is not in the folder"):
        texts(prompts)


def test_a_redundancy_interval_of_zero_never_asks() -> None:
    prompts = load_prompts("combined").with_settings(redundancy={"every": 0})
    assert Team(names=default_names(2), prompts=prompts).spec("Why?", TOKENIZER).redundancy is None


def test_the_redundancy_question_can_count_each_worker() -> None:
    prompts = load_prompts("combined").with_settings(redundancy={"counted": "worker"})
    check = Team(names=default_names(2), prompts=prompts).spec("Why?", TOKENIZER).redundancy
    assert check is not None
    assert check.counted == "worker"


def test_a_setting_that_is_asked_for_and_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match="A prompt option has a bad 'thinking': it must be"):
        load_prompts("combined").with_settings(thinking="maybe")
