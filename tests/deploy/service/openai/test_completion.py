"""From the messages of a chat to one problem."""

from hogwild_dist.deploy.service.openai.completion import problem_of
from hogwild_dist.deploy.service.openai.messages import Message


class Incomparable(Message):
    """A message that is never to be compared with another: of many that would take too long."""

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        raise AssertionError


def test_instructions_are_told_by_their_role_alone() -> None:
    said = [("system", "Be brief."), ("user", "Name a fruit."), ("developer", "Be kind.")]
    messages = [Incomparable(role=role, content=text) for role, text in said]
    assert problem_of(messages) == "Be brief.\n\nBe kind.\n\nName a fruit."
