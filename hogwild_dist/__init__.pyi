from .answers import AnswerForm
from .config import EngineConfig, SamplingConfig, Visibility
from .engine import Engine
from .errors import HogwildError
from .events import Answer, Event, ParagraphEnd, SessionEnd, Text, WorkerStop
from .finish import Finish, team_answer
from .layout import LAYOUTS, Layout, Rule, load_layout
from .loading import load
from .member import Member
from .prompts import Prompts, load_prompts
from .run import Result, Run
from .team import Limits, Team, default_names
from .teams import TEAMS, load_team

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
