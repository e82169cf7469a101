"""The texts that a team starts from."""

from hogwild_dist.team.prompts.templates import Prompts, PromptSettings, Redundancy, load_prompts

__all__ = ["PromptSettings", "Prompts", "Redundancy", "load_prompts"]
