"""What a session was started from, as its client says it."""

from dataclasses import dataclass

from hogwild_dist.session.spec import SessionSpec
from hogwild_dist.team.team import Team


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionRequest:
    """Plain data that can travel: whoever has it can write texts for the running session.

    Attributes:
        problem: what is worked on.
        team: who works on it.
        spec: what was made of both; all that is computed.
        team_name: what the team is called, where it has a name.
    """

    problem: str
    team: Team
    spec: SessionSpec
    team_name: str = ""
