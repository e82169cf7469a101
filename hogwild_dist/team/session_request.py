"""The request that starts a session."""

from dataclasses import dataclass

from hogwild_dist.session.spec import SessionSpec
from hogwild_dist.team.team import Team


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionRequest:
    """A problem and a team, compiled; plain data from which changes can be written later.

    Attributes:
        problem: text of the problem.
        team: the team.
        spec: specification of the session.
        team_name: name of the team, if it has one.
    """

    problem: str
    team: Team
    spec: SessionSpec
    team_name: str = ""
