"""Prompts, sampling and a layout that make the tiny model's noise end many paragraphs."""

from dataclasses import replace

from hogwild_dist.config import SamplingConfig
from hogwild_dist.team.layout import LAYOUTS, Layout, Rule
from hogwild_dist.team.prompts import Prompts, PromptSettings, Redundancy
from tests.tiny_tokenizer import byte_tokenizer

PROMPTS = Prompts(
    templates={
        "user": "{{ problem }}",
        "prefix": "{{ worker }} [{{ index }}]: ",
        "blocks/common": "Now: ",
        "blocks/header": "Others: ",
        "blocks/separator": "Me: ",
        "first": "{{ worker }} [1]: A sentence.\n\n",
        "redundancy": "New? ",
        "finisher": "So: ",
        "interjection": "{{ speaker }}: {{ text }}\n\n",
        "joined": "\n**{{ worker }}** joins the team: {{ role }}\n\n\n",
        "brief": "Psst: {{ brief }} ",
    },
    settings=PromptSettings(redundancy=Redundancy(every=10)),
)
RULES = "Rules: " + "be kind. " * 20
LONG = replace(PROMPTS, templates={**PROMPTS.templates, "user": RULES + "{{ problem }}"})
"""All problems begin alike."""

NEWLINE = byte_tokenizer().encode("\n", add_special_tokens=False)[0]
STOP = byte_tokenizer().encode(".", add_special_tokens=False)[0]
BREAKS = SamplingConfig(temperature=1.0, top_p=0.95, logit_bias={NEWLINE: 9.0, STOP: 8.0})
"""The tiny model writes noise; with these biases many paragraphs end in it."""

CRITIC = Layout(
    name="critic",
    everyone=LAYOUTS["combined"].everyone,
    workers={"Cat": Rule(view=("common", "others", "own"), seen=False, paragraphs_to="notes")},
)
