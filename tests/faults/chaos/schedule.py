"""What a trial does, drawn from its seed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hogwild_dist.config import Visibility
from hogwild_dist.session.answers import AnswerForm
from hogwild_dist.session.changes import AddWorker, Change, Interjection
from hogwild_dist.session.spec import SessionSpec
from hogwild_dist.team.answer_policy import AnswerPolicy
from hogwild_dist.team.layout import LAYOUTS
from hogwild_dist.team.session_request import SessionRequest
from hogwild_dist.team.team import Limits, Team
from tests.exchange.grid import NAMES
from tests.tiny_team import BREAKS, LONG
from tests.tiny_tokenizer import EOS, byte_tokenizer

NUM_ROUNDS = 400
"""Steps of a session; faults happen in the first three quarters."""

NUM_SCENARIOS = 6
"""Different sets of sessions; each is written once without faults, to compare."""

EXCHANGE_POINTS = ("begin", "post", "collect", "share")
LAYER_POINTS = ("send_layer", "receive_layer")
CHANGE_POINTS = (
    "join", "freeze", "form", "open", "begin_copy", "read_pages", "write_pages", "save", "load",
)  # fmt: skip
"""What is called while shards regroup, or join a group."""

DRIVER_KINDS = ("driver", "torn log", "full disk", "all shards")
"""Faults that strike the driver, or all shards at once, when a step is published."""

WEIGHTS = {
    "SIGKILL": 40, "SIGSTOP": 5, "pause": 6, "error": 8, "disconnect": 6, "slow": 5, "damaged": 4,
    "wrong step": 4, "cut short": 4, "driver": 6, "torn log": 4, "full disk": 3, "all shards": 5,
}  # fmt: skip
"""How often each kind of fault is drawn, in parts of their sum."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """A fault at the first call of a method in or after a round.

    Attributes:
        number: number of the fault in its trial.
        round: number of rounds that are completed before.
        kind: what happens, one of `WEIGHTS`.
        point: name of the method, or "publish" for the driver.
        rank: rank of the shard, modulo the size of its group; any shard for `CHANGE_POINTS`.
        after: whether it follows the call.
    """

    number: int
    round: int
    kind: str
    point: str
    rank: int = 0
    after: bool = False

    @property
    def of_driver(self) -> bool:
        """Whether the driver has to make it happen."""
        return self.kind in DRIVER_KINDS


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A group, its sessions and what happens to it.

    Attributes:
        seed: what everything is drawn from.
        visibility: visibility of the group.
        num_shards: number of shards at the start.
        scenario: number of the set of sessions.
        faults: the faults, by round.
        counts: numbers of shards to which the group is brought, by the round in which it begins.
    """

    seed: int
    visibility: Visibility
    num_shards: int
    scenario: int
    faults: tuple[Fault, ...]
    counts: dict[int, int]


def trial(seed: int, num_faults: int) -> Trial:
    """Draw a trial."""
    rng = random.Random(seed)
    visibility = rng.choices(list(Visibility), [4, 4, 1])[0]
    num_shards = rng.choices((1, 2, 3, 4), (1, 3, 4, 2))[0]
    last = NUM_ROUNDS * 3 // 4
    rounds = sorted(rng.randrange(5, last) for _ in range(num_faults))
    changing = visibility is not Visibility.OVERLAPPED
    return Trial(
        seed=seed,
        visibility=visibility,
        num_shards=num_shards,
        scenario=seed % NUM_SCENARIOS,
        faults=tuple(_fault(rng, at, visibility, one) for at, one in enumerate(rounds)),
        counts={rng.randrange(last): rng.randint(1, 4) for _ in range(rng.randrange(3))}
        if changing
        else {},
    )


def _fault(rng: random.Random, number: int, visibility: Visibility, in_round: int) -> Fault:
    kind = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    fault = Fault(
        number=number,
        round=in_round,
        kind=kind,
        point="publish",
        rank=rng.randrange(4),
        after=rng.random() < 0.5,
    )
    if fault.of_driver:
        return fault
    points = EXCHANGE_POINTS + (LAYER_POINTS if visibility is Visibility.SAME_STEP else ())
    if kind in {"SIGKILL", "SIGSTOP", "error"} and rng.random() < 0.3:
        points = CHANGE_POINTS
    return replace(fault, point=rng.choice(points))


def requests(scenario: int) -> list[tuple[SessionRequest, Sequence[Change]]]:
    """Return the sessions of a scenario, and what is asked of each before its first step."""
    rng = random.Random(scenario)
    found = []
    for number in range(3):
        num_workers = rng.randint(2, 8 if number == 0 else 4)
        finisher = AnswerPolicy(
            form=AnswerForm.parse("zzz"), finisher_tokens=9, budgets=(30, NUM_ROUNDS // 2)
        )
        team = Team(
            names=NAMES[:num_workers],
            layout=LAYOUTS["combined" if number == 2 else rng.choice(list(LAYOUTS))],
            prompts=LONG,
            sampling=replace(BREAKS, forbidden_ids=(EOS,)),
            limits=Limits(max_tokens=NUM_ROUNDS - 40 * number),
            seed=scenario * 10 + number,
            answer_policy=finisher if number == 1 else None,
        )
        problem = f"Problem {number}!"
        spec = team.spec(problem, byte_tokenizer())
        changes = _changes(spec) if number == 2 else ()
        found.append((SessionRequest(problem=problem, team=team, spec=spec), changes))
    return found


def _changes(spec: SessionSpec) -> Sequence[Change]:
    """A worker joins, and somebody says something."""
    message = Interjection(name="You", text="Hi!", token_ids=(40, 41, 5), target="common")
    newcomer = replace(
        spec.workers[0], name="Zoe", view=("common", "others", "own"), newcomers_at=None
    )
    return AddWorker(worker=newcomer, announcement=message), message
