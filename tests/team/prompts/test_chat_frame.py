"""Chat templates of models: what they write, what they drop, and how they fail."""

import subprocess
import sys
from typing import Any

import pytest

from hogwild_dist.errors import ModelError
from hogwild_dist.model.prompt_text import PromptText
from hogwild_dist.team.prompts.chat import chat_text
from hogwild_dist.team.team import Team
from tests.paths import ROOT
from tests.tiny_tokenizer import byte_tokenizer

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TRIMMING = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] | trim }}\n{% endfor %}"
)
SPACED = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}"
    "{{ '[INST] ' + m.content.strip() + ' [/INST]' }}{% else %}"
    "{{ 'SYSTEM: ' + m.content.strip() + ' ' }}{% endif %}{% endfor %}"
)
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}"
)
DROPS_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'user' %}U: {{ m.content }}\n{% endif %}{% endfor %}"
)
ONLY_PARTS = (
    "{% for m in messages %}{{ m.role }}: "
    "{% for p in m.content %}{{ p.text }}{% endfor %}{{ '\n' }}{% endfor %}"
)
DEFAULT_SYSTEM = (
    "{% if messages[0].role != 'system' %}[sys]Be kind.{% endif %}"
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
)
ENDLESS = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
    "{% endfor %}{% endfor %}{% endfor %}"
)


def tokenizer(template: Any) -> Any:
    made = byte_tokenizer()
    made.chat_template = template
    return made


def rendered(template: Any, instructions: str, user: str) -> str:
    texts = PromptText.typed(instructions), PromptText.typed(user)
    return str(chat_text(tokenizer(template), *texts))


@pytest.mark.parametrize("template", [CHATML, TRIMMING, SPACED, DEFAULT_SYSTEM])
@pytest.mark.parametrize("instructions", ["", "Work together.", "  two \n lines "])
@pytest.mark.parametrize("user", ["Why?", " padded\n", "{{ 1 + 1 }}", "a user\U000f0000"])
def test_messages_stand_where_transformers_writes_them(
    template: str, instructions: str, user: str
) -> None:
    messages = [{"role": "system", "content": instructions}] if instructions else []
    right = tokenizer(template).apply_chat_template(
        [*messages, {"role": "user", "content": user}], tokenize=False, add_generation_prompt=True
    )
    assert rendered(template, instructions, user) == right


@pytest.mark.parametrize(
    ("template", "right"),
    [
        (NO_SYSTEM, "[INST] Rules.\n\nWhy? [/INST]"),
        (DROPS_SYSTEM, "U: Rules.\n\nWhy?\n"),
        (ONLY_PARTS, "system: Rules.\nuser: Why?\n"),
        ({"default": CHATML, "rag": "?"}, None),
    ],
)
def test_instructions_are_never_lost(template: Any, right: str | None) -> None:
    found = rendered(template, "Rules.", "Why?")
    assert "Rules." in found
    assert found == right or right is None


def test_a_process_with_little_memory_of_its_own_renders_templates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its limits are lower than those that are set, and it finds the same packages."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); "
        "resource.setrlimit(resource.RLIMIT_CPU, (9, 9)); "
        f"from tests.team.prompts.test_chat_frame import *; print(rendered({NO_SYSTEM!r}, '', 'x'))"
    )
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}")
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.stdout == "[INST] x [/INST]\n", done.stderr


def test_a_problem_does_not_steer_the_template() -> None:
    template = (
        "{% if 'quiet' in messages[-1].content %}{% else %}{{ messages[-1].content }}{% endif %}"
    )
    assert rendered(template, "", "be quiet") == "be quiet"


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{{ raise_exception('Roles must alternate') }}", "fails: Roles must alternate; correct"),
        ("{% for m in messages %}{{ m.content }", "fails: .*; correct the template"),
        ("{{ messages[0].text.upper() }}", "fails: .*; correct the template"),
        ("Hello", "drops the user's message; correct the template"),
        ("{{ messages[0].content | upper }}", "drops the user's message"),
        (
            "{{ messages[0].content * 9999999 }}",
            "fails: .*characters, more than|did not end|Memory",
        ),
        ({"rag": CHATML, "tool_use": CHATML}, "chat templates rag, tool_use and none is named"),
        ("{{ ''.__class__.__mro__ }}{{ messages[0].content }}", "fails: .*; correct the template"),
    ],
)
def test_templates_that_cannot_be_used(template: Any, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence) as error:
        Team(names=("A", "B")).texts_and_spec("Why?", tokenizer(template))
    assert str(error.value).count("\n") == 0


@pytest.mark.slow
def test_a_template_without_end_is_given_up() -> None:
    with pytest.raises(ModelError, match="did not end within 10 s of CPU time"):
        rendered(ENDLESS, "", "Why?")
