"""Cases of the equivalence tests, and what one rank does for a case."""

from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, product

from hogwild_dist.config import EngineConfig, Visibility
from hogwild_dist.engine.commands import Inbox, Open
from hogwild_dist.engine.engine import Engine
from hogwild_dist.engine.shard_loop import ShardLoop
from hogwild_dist.engine.updates import Update
from hogwild_dist.exchange.collectives import ExchangeCounts
from hogwild_dist.exchange.process_group import Membership
from hogwild_dist.exchange.torch_dist import TorchDistExchange
from hogwild_dist.model.loader import LoadedModel
from hogwild_dist.session.answers import AnswerForm
from hogwild_dist.session.spec import SessionSpec
from hogwild_dist.team.answer_policy import AnswerPolicy
from hogwild_dist.team.layout import LAYOUTS
from hogwild_dist.team.team import Limits, Team
from hogwild_dist.timeline import Timeline
from tests.exchange.forms import channels
from tests.kvcache.integrity import check_integrity
from tests.tiny_engine import tiny_byte_model
from tests.tiny_team import BREAKS, CRITIC, PROMPTS
from tests.tiny_tokenizer import byte_tokenizer

ALL_LAYOUTS = {**LAYOUTS, "critic": CRITIC}
NAMES = ("Ann", "Ben", "Cat", "Dan", "Eve", "Fay", "Gus", "Hal")


@dataclass(frozen=True, slots=True)
class Case:
    workers: int
    shards: int
    layout: str
    visibility: Visibility
    greedy: bool

    def __str__(self) -> str:
        choice = "greedy" if self.greedy else "sampled"
        return f"{self.workers}on{self.shards}-{self.layout}-{self.visibility.value}-{choice}"

    def spec(self) -> SessionSpec:
        sampling = replace(BREAKS, temperature=0.0) if self.greedy else BREAKS
        names = NAMES[: self.workers]
        form = AnswerForm.parse("zzz")  # nobody announces it, so that the finisher is asked
        layout = replace(CRITIC, workers={names[-1]: CRITIC.workers["Cat"]})
        team = Team(
            names=names,
            layout=layout if self.layout == "critic" else LAYOUTS[self.layout],
            prompts=PROMPTS,
            sampling=sampling,
            limits=Limits(max_tokens=25),
            seed=self.workers,
            answer_policy=AnswerPolicy(
                form=form, vote=self.greedy, finisher_tokens=9, budgets=(6, 14)
            ),
        )
        return team.spec("Count!", byte_tokenizer())


def every_case() -> list[Case]:
    axes = ((2, 3, 4, 8), (1, 2, 3, 4), ALL_LAYOUTS, Visibility, (True, False))
    return [Case(*values) for values in product(*axes)]


def pairwise_cases() -> list[Case]:
    """Few cases in which every pair of values occurs."""

    def pairs(case: Case) -> set[tuple[object, ...]]:
        fields = [getattr(case, name) for name in Case.__slots__]
        return set(combinations(enumerate(fields), 2))

    cases = every_case()
    open_pairs = set().union(*map(pairs, cases))
    chosen = []
    while open_pairs:
        best = max(cases, key=lambda case: len(pairs(case) & open_pairs))
        chosen.append(best)
        open_pairs -= pairs(best)
    return chosen


def peers_at_every_visibility() -> list[Case]:
    """Of these, one case for every number of shards with peers and every visibility."""
    return list(
        {
            (case.shards, case.visibility): case for case in pairwise_cases() if case.shards > 1
        }.values()
    )


@cache
def model() -> LoadedModel:
    return tiny_byte_model()


def config(visibility: Visibility, cache_tokens: int = 8_192) -> EngineConfig:
    return EngineConfig(visibility=visibility, cache_tokens=cache_tokens, max_step_tokens=96)


@dataclass(frozen=True, slots=True)
class Played:
    """What a rank saw and holds."""

    updates: list[Update]
    checksums: dict[int, dict[str, int]]
    free_pages: int
    counts: ExchangeCounts


def new_engine(
    visibility: Visibility, *, timeline: Timeline | None = None, **fields: object
) -> Engine:
    return Engine(
        model(), byte_tokenizer(), replace(config(visibility), **fields), timeline=timeline
    )


def alone(spec: SessionSpec, visibility: Visibility, *, recorded: bool = False) -> Played:
    return play(new_engine(visibility), [spec], recorded=recorded)


def on_a_rank(
    place: Membership,
    specs: list[SessionSpec],
    visibility: Visibility,
    cache_tokens: int = 8_192,
    attention: str | None = None,
    form: str = "together",
) -> Played:
    engine = rank_engine(place, visibility, cache_tokens, attention, form)
    return play(engine, specs, recorded=False)


def rank_engine(
    place: Membership,
    visibility: Visibility,
    cache_tokens: int = 8_192,
    attention: str | None = None,
    form: str = "together",
) -> Engine:
    engine_config = replace(config(visibility, cache_tokens), attention=attention)
    cache = model().new_cache(engine_config.cache_tokens)
    exchange = TorchDistExchange(channels(place, form), cache, visibility, place.epoch)
    return Engine(model(), byte_tokenizer(), engine_config, exchange, cache=cache)


def play(engine: Engine, specs: list[SessionSpec], *, recorded: bool) -> Played:
    inbox, seen = Inbox(), []
    for number, spec in enumerate(specs, start=1):
        inbox.put(number, Open(session=number, spec=spec, recorded=recorded))
    loop = ShardLoop(engine, inbox, seen.extend, audit=True)
    assert loop.run() == len(specs)
    check_integrity(engine.cache)
    counts = getattr(engine.exchange, "counts", ExchangeCounts())
    return Played(seen, loop.checksums, engine.num_free_pages, counts)


def timeless(update: Update) -> Update:
    return replace(update, seconds=0.0)
