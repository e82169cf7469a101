"""How much a session may take."""

import pytest

from hogwild_dist.deploy.service.config import ServiceConfig
from hogwild_dist.deploy.service.errors import FieldError
from hogwild_dist.deploy.service.sessions.session_params import SessionParams, TeamBuilder
from hogwild_dist.session.answers import FormKind


@pytest.mark.parametrize(
    ("params", "bounds", "total", "most"),
    [
        # by default a quarter of the 65,536 tokens that a cache holds
        ({"workers": 16, "max_tokens": 4_096}, {}, 16 * 4_096 + 256, 16_384),
        ({"workers": 4, "max_tokens": 25}, {"session_tokens": 355}, 4 * 25 + 256, 355),
        (
            {"team": "thinker-writer", "max_tokens": 50},
            {"session_tokens": 99},
            2 * 50,  # the writer's text is the answer
            99,
        ),
        (
            {"workers": 2, "max_tokens": 5, "answer_tokens": 3, "answer": FormKind.BOXED,
             "team": "independent"},
            {"session_tokens": 15},
            2 * 5 + 2 * 3,  # everybody answers alone
            15,
        ),
    ],
)  # fmt: skip
def test_a_session_that_would_take_the_room_of_many_is_refused(
    params: dict, bounds: dict, total: int, most: int
) -> None:
    asked = SessionParams(problem="Count!", **params)
    with pytest.raises(FieldError, match=f"may choose {total} tokens .* {most} here") as caught:
        TeamBuilder(ServiceConfig(bounds=bounds)).build_team(asked)
    assert caught.value.param == "max_tokens"
    enough = {**bounds, "session_tokens": total}
    assert TeamBuilder(ServiceConfig(bounds=enough)).build_team(asked).team.names


def test_a_team_of_every_size_is_allowed_where_nothing_is_said() -> None:
    team_builder = TeamBuilder(ServiceConfig())
    for workers in range(2, 17):
        plan = team_builder.build_team(SessionParams(problem="Count!", workers=workers))
        assert len(plan.team.names) == workers


def test_a_team_beyond_the_bound_of_workers_is_refused() -> None:
    team_builder = TeamBuilder(ServiceConfig(bounds={"workers": 2}))
    with pytest.raises(
        FieldError, match="The team has 3 workers; it must have at most 2"
    ) as caught:
        team_builder.build_team(SessionParams(problem="Count!", workers=3))
    assert caught.value.param == "workers"
