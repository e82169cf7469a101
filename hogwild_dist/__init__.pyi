from .config import EngineConfig, ExchangeBackend, SamplingConfig, Visibility
from .engine.engine import Engine
from .errors import HogwildError
from .run.load import load
from .run.run import Result, Run
from .session.answers import AnswerForm
from .session.events import Answer, Event, ParagraphEnd, SessionEnd, Text, WorkerStop
from .team.answer_policy import AnswerPolicy, team_answer
from .team.layout import LAYOUTS, Layout, Rule, load_layout
from .team.presets import TEAMS, load_team
from .team.prompts import Prompts, load_prompts
from .team.team import Limits, Team, default_names
from .team.worker_profile import WorkerProfile

__all__ = [
    "LAYOUTS",
    "TEAMS",
    "Answer",
    "AnswerForm",
    "AnswerPolicy",
    "Engine",
    "EngineConfig",
    "Event",
    "ExchangeBackend",
    "HogwildError",
    "Layout",
    "Limits",
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
    "WorkerProfile",
    "WorkerStop",
    "default_names",
    "load",
    "load_layout",
    "load_prompts",
    "load_team",
    "team_answer",
]
