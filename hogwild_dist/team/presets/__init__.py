"""Built-in teams and team files: roles, layout, and who answers."""

from hogwild_dist.team.presets.files import TEAMS, TeamFile, load_team

__all__ = ["TEAMS", "TeamFile", "load_team"]
