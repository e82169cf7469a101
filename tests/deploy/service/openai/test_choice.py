"""What the updates of a session say to the client of a chat."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hogwild_dist.deploy.service.config import ServiceConfig
from hogwild_dist.deploy.service.openai.choice import AnswerDelta, Choice, ThoughtDelta
from hogwild_dist.deploy.service.openai.stop_strings import StopStringFilter
from hogwild_dist.deploy.service.sessions.ids import SessionId, new_secret
from hogwild_dist.deploy.service.sessions.session_params import SessionParams, TeamBuilder
from hogwild_dist.deploy.service.sessions.session_service import Opened
from hogwild_dist.engine.updates import Update
from hogwild_dist.session.events import SessionEnd, Text


def choice_of(*stops: str, number: int = 1) -> Choice:
    """A choice whose speaker's text is the answer."""
    plan = TeamBuilder(ServiceConfig()).build_team(
        SessionParams(problem="Tell!", team="thinker-writer")
    )
    session = SessionId(0, number, new_secret())
    return Choice(Opened(id=session, plan=plan, prompt_tokens=10), StopStringFilter(stops))


def spoken(choice: Choice, text: str, tokens: int = 1) -> Update:
    """An update in which the speaker writes."""
    said = Text(
        step=0, worker=1, name=choice.opened.plan.speaker, token_ids=(0,) * tokens, text=text
    )
    return Update(session=choice.opened.id.number, step=0, events=(said,))


@pytest.mark.parametrize(
    ("pieces", "content"),
    [
        (["The", " cat", " sat"], "The cat sat"),  # "The" is held back: it may become the stop
        (["\n", " ", "The", " ", "cat"], "The cat"),
        ([" ", "\n"], ""),
        (["The", " end", " sat"], ""),
    ],
)
def test_only_blanks_before_an_answer_are_dropped(pieces: list[str], content: str) -> None:
    choice = choice_of("The end")
    said = [one for piece in pieces for one in choice.apply(spoken(choice, piece))]
    end = SessionEnd(step=1, reason="cancelled")
    said += choice.apply(Update(session=1, step=1, events=(end,)))
    assert all(isinstance(one, AnswerDelta) for one in said)
    assert "".join(one.text for one in said) == choice.content == content


def test_a_choice_whose_session_failed_is_never_complete() -> None:
    choice = choice_of()
    (said,) = choice.apply(spoken(choice, "The"))
    assert said == AnswerDelta("The")
    end = SessionEnd(step=1, reason="failed")
    assert not list(choice.apply(Update(session=1, step=1, events=(end,))))
    assert choice.ended
    assert not choice.done


def thought(choice: Choice, text: str, *, chosen: bool = True) -> Update:
    """An update in which the other worker writes."""
    said = Text(step=0, worker=0, name="Thinker", token_ids=(0,), text=text, chosen=chosen)
    return Update(session=choice.opened.id.number, step=0, events=(said,))


@given(st.lists(st.sampled_from(["a", "b c", " ", "\n", "\n\n", "."]), max_size=30))
@pytest.mark.parametrize("by_token", [True, False])
@pytest.mark.parametrize("answer", ["The end", ""])
def test_no_thought_is_lost_or_sent_twice(by_token: bool, answer: str, pieces: list[str]) -> None:
    choice = choice_of("end")
    choice.by_token = by_token
    said = [*choice.apply(thought(choice, "**Thinker [1]:** I begin:", chosen=False))]
    for piece in pieces:
        said += choice.apply(thought(choice, piece))
    said += choice.apply(spoken(choice, answer))  # its stop string completes the choice
    end = SessionEnd(step=1, reason="all_stopped")
    said += choice.apply(Update(session=1, step=1, events=(end,)))
    sent = "".join(one.text for one in said if isinstance(one, ThoughtDelta))
    text = "".join(pieces)
    if by_token:
        assert sent == text == choice.thoughts.get("Thinker", "")
    else:
        assert sent == choice.reasoning
        assert sent.replace("Thinker: ", "").split() == text.split()
    assert "I begin" not in sent
