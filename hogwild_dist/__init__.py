"""Several instances of one language model think together over a shared key-value cache.

The method is Hogwild! Inference (Rodionov et al., arXiv 2504.06261).
"""

from hogwild_dist.answers import AnswerForm
from hogwild_dist.config import EngineConfig, SamplingConfig, Visibility
from hogwild_dist.engine import Engine
from hogwild_dist.errors import HogwildError
from hogwild_dist.events import Answer, Event, ParagraphEnd, SessionEnd, Text, WorkerStop
from hogwild_dist.finish import Finish, team_answer
from hogwild_dist.layout import LAYOUTS, Layout, Rule, load_layout
from hogwild_dist.load import load
from hogwild_dist.member import Member
from hogwild_dist.prompts import Prompts, load_prompts
from hogwild_dist.run import Result, Run
from hogwild_dist.team import Limits, Team, default_names
from hogwild_dist.teams import TEAMS, load_team

__all__ = [
    "LAYOUTS",
    "TEAMS",
    "Answer",
    "AnswerForm",
    "Engine",
    "EngineConfig",
    "Event",
    "Finish",
    "HogwildError",
    "Layout",
    "Limits",
    "Member",
    "ParagraphEnd",
    "Prompts",
    "Result",
    "Rule",
    "Run",
    "SamplingConfig",
    "SessionEnd",
    "Team",
    "Text",
    "Visibility",
    "WorkerStop",
    "default_names",
    "load",
    "load_layout",
    "load_prompts",
    "load_team",
    "team_answer",
]
