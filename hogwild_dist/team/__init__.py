"""From a problem and a team to the specification of a session: layouts, prompts, presets."""
