"""Prompts: the templates of a team's first texts."""

from hogwild_dist.team.prompts.templates import Prompts, PromptSettings, Redundancy, load_prompts

__all__ = ["PromptSettings", "Prompts", "Redundancy", "load_prompts"]
