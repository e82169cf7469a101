"""The texts that a team starts from."""

from hogwild_dist.prompts.templates import Prompts, load_prompts

__all__ = ["Prompts", "load_prompts"]
