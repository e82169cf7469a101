"""The specification of a session as plain data: token ids, block names, limits.

A `Team` and a problem yield one; traces record one; shards receive one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from hogwild_dist.config import SamplingConfig
from hogwild_dist.errors import ConfigError, check_positive
from hogwild_dist.session.answers import AnswerForm

MAX_WORKERS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSpec:
    """The specification of one worker; it writes the last block of `view`."""

    name: str
    view: tuple[str, ...]
    first_input: tuple[int, ...]
    """First tokens that it feeds: the beginning of its own text."""

    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    paragraphs_to: str | None = None
    """Block that finished paragraphs move to; None does not divide the text into paragraphs."""

    first_paragraph: int = 1
    """Number of the paragraph that `first_input` begins."""

    max_tokens: int | None = None
    """Number of chosen tokens after which the worker stops."""

    stop_at_step: int | None = None
    """First step in which the worker takes no part."""

    stop_after_paragraph: int | None = None
    """Number of the paragraph at whose end the worker stops."""

    seen: bool = True
    """Whether a worker who joins later sees this one."""

    newcomers_at: int | None = None
    """Place in `view` where a newcomer's block is inserted; None does not show newcomers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RedundancyCheck:
    """A question that workers are asked now and then when they begin a paragraph.

    Attributes:
        every: the question is asked when more than this many tokens were fed since the last one.
        question: text of the question; the worker continues where it ends.
        counted: tokens that count: `team` counts all workers' tokens and starts again whenever any
            worker is asked, as in the paper's code; `worker` counts the worker's own, as in the
            paper.
    """

    every: int
    question: str
    counted: Literal["team", "worker"] = "team"


def check_budgets(budgets: Sequence[int]) -> None:
    """Refuse budgets that are not ascending numbers from 1 on.

    Raises:
        ConfigError: the budgets are not ascending, or below 1.
    """
    if any(budget < 1 for budget in budgets) or list(budgets) != sorted(set(budgets)):
        raise ConfigError(
            f"The budgets are {', '.join(map(str, budgets))}; give ascending numbers of steps, "
            "from 1 on."
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FinisherSpec:
    """A worker that writes only to state an answer.

    Attributes:
        spec: specification of the worker; its own block is emptied before each answer.
        of: index of the worker whose answer it states, or None for the team's.
    """

    spec: WorkerSpec
    of: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerRule:
    """How a session reaches an answer.

    Attributes:
        form: form in which an answer is announced.
        by: indices of the workers whose announcement counts; empty means all.
        each: whether an answer stops only its own worker (a vote), or the team.
        finishers: workers that state an answer at a budget, and at the end if none was announced.
        budgets: ascending numbers of the team's steps after which the finishers state an answer;
            the team then continues as if it had not been interrupted.
    """

    form: AnswerForm
    by: tuple[int, ...] = ()
    each: bool = False
    finishers: tuple[FinisherSpec, ...] = ()
    budgets: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_budgets(self.budgets)
        if self.budgets and not self.finishers:
            raise ConfigError(
                "Budgets need a finisher that states an answer at them; give the finisher tokens."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionSpec:
    """The specification of one team's work on one problem.

    Raises:
        ConfigError: names, views and limits do not fit together.
    """

    workers: tuple[WorkerSpec, ...]
    shared: Mapping[str, tuple[int, ...]]
    """Shared block -> the tokens that are encoded before the first step; may be empty."""

    shared_prefixes: Mapping[str, int] = field(default_factory=dict)
    """Shared block -> number of its first tokens that other sessions probably share."""

    seed: int = 0
    paragraph_prefix: str = "**{worker} [{index}]:** "
    """Beginning of each paragraph but the first; ``{worker}`` and ``{index}`` are filled in."""

    redundancy: RedundancyCheck | None = None
    whole_code: bool = False
    """Whether a paragraph cannot end inside a fenced code block."""

    stop_strings: tuple[str, ...] = ()
    """A worker stops when its text contains one of these; the text is cut before it."""

    end_ids: frozenset[int] = field(default_factory=frozenset)
    """End-of-text tokens; a worker that chooses one stops."""

    max_total_tokens: int | None = None
    """Number of tokens chosen by all workers together after which the session ends."""

    until: tuple[int, ...] = ()
    """Indices of the workers whose stop ends the team; empty means all."""

    answer_rule: AnswerRule | None = None
    """How the session reaches an answer; None asks for none."""

    @property
    def common_block(self) -> str | None:
        """The growing shared block that all workers see, or the first such block, or None."""
        seen = [name for name in self.shared if all(name in w.view for w in self.workers)]
        targets = {worker.paragraphs_to for worker in self.workers}
        return next((name for name in seen if name in targets), seen[0] if seen else None)

    @property
    def finishers(self) -> tuple[WorkerSpec, ...]:
        """Workers that write only to state an answer; their indices follow the team's."""
        return (
            ()
            if self.answer_rule is None
            else tuple(one.spec for one in self.answer_rule.finishers)
        )

    def __post_init__(self) -> None:
        self._check_names()
        for name, count in self.shared_prefixes.items():
            if not 0 <= count <= len(self.shared.get(name, ())):
                raise ConfigError(
                    f"The shared prefix of {name!r} has {count} tokens; it must have from 0 to "
                    f"{len(self.shared.get(name, ()))}, the length of the block."
                )
        for worker in (*self.workers, *self.finishers):
            self._check_worker(worker)
        for index in (*self.until, *(self.answer_rule.by if self.answer_rule else ())):
            if index not in range(len(self.workers)):
                raise ConfigError(
                    f"Worker {index} is named to end the team or to answer, but the team has "
                    f"workers 0 to {len(self.workers) - 1}; use one of them."
                )

    def _check_names(self) -> None:
        names = [worker.name for worker in self.workers]
        finishers = [worker.name for worker in self.finishers]
        if set(names) & set(finishers):
            raise ConfigError(
                f"A worker is called {min(set(names) & set(finishers))!r}, which is the name of a "
                "finisher; choose another name."
            )
        if not 1 <= len(names) <= MAX_WORKERS or len(set(names)) < len(names):
            raise ConfigError(
                f"The workers are {', '.join(names) or 'none'}; a team has 1 to {MAX_WORKERS} "
                "workers with different names."
            )
        written = [w.view[-1] for w in (*self.workers, *self.finishers) if w.view]
        for block in written:
            if written.count(block) > 1 or block in self.shared:
                raise ConfigError(
                    f"Block {block!r} is written by more than one worker; a worker's view must end "
                    "with a block of its own."
                )

    def _check_worker(self, worker: WorkerSpec) -> None:
        known = {w.view[-1] for w in (*self.workers, *self.finishers) if w.view} | set(self.shared)
        if not worker.view or len(set(worker.view)) != len(worker.view):
            raise ConfigError(
                f"The view of {worker.name!r} is {list(worker.view)}; it must name each block once "
                "and end with the worker's own."
            )
        for name in (*worker.view, *filter(None, (worker.paragraphs_to,))):
            if name not in known:
                raise ConfigError(
                    f"{worker.name!r} refers to the block {name!r}, which does not exist; known "
                    f"blocks are {', '.join(sorted(known))}."
                )
        if worker.paragraphs_to is not None and worker.paragraphs_to not in self.shared:
            raise ConfigError(
                f"Paragraphs of {worker.name!r} move to {worker.paragraphs_to!r}, which is a "
                "worker's own block; use a shared one."
            )
        check_positive(f"max_tokens of {worker.name!r}", worker.max_tokens)
        if not worker.first_input:
            raise ConfigError(
                f"{worker.name!r} has no first text; give the worker at least one token to "
                "begin with."
            )


def block_name(worker: int) -> str:
    """Return the name of the block that a worker writes."""
    return f"w{worker}"


def expand_view(
    items: Sequence[str], *, own: str, others: Sequence[str], block_of: Callable[[str], str]
) -> tuple[str, ...]:
    """Return the block names of a view whose items may stand for workers.

    Args:
        items: names of shared blocks, ``own``, ``others`` and ``worker:NAME``.
        own: block that the worker writes.
        others: blocks of the other workers that it sees.
        block_of: returns the block of a worker by name.
    """
    blocks: list[str] = []
    for item in items:
        if item == "own":
            blocks.append(own)
        elif item == "others":
            blocks += others
        elif item.startswith("worker:"):
            blocks.append(block_of(item.removeprefix("worker:")))
        else:
            blocks.append(item)
    return tuple(blocks)
