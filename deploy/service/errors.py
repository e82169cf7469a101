"""Errors of the HTTP interface, in OpenAI's form."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.errors import ConfigError, HogwildError
from hogwild_dist.team.user_files import first_fault

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
"""Status -> type of error; others are faults of the request, or of the service from 500 on."""

UNREADY_SECONDS = 5
"""After which to look again for a group that is not ready."""


class Problem(BaseModel):
    """What went wrong.

    Attributes:
        message: one sentence.
        type: of the error.
        param: field of the request that is meant.
        code: status as a word.
    """

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """Body of every answer that is an error."""

    error: Problem


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": meaning}
    for status, meaning in (
        (400, "The request cannot be carried out."),
        (401, "No key, or an unknown one."),
        (403, "The session belongs to another key."),
        (404, "There is no such session."),
        (409, "The session is not so far yet."),
        (413, "The body is too large."),
        (415, "The body is not JSON, or does not say so."),
        (429, "Too much for now; see Retry-After."),
        (503, "No group of shards is ready; see Retry-After."),
    )
}
"""For the OpenAPI document."""


class ApiError(HogwildError):
    """An error with a status.

    Args:
        status: of HTTP.
        message: one sentence.
        param: field of the request that is meant.
        retry_after: seconds to wait, where it helps.
    """

    def __init__(
        self, status: int, message: str, *, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.retry_after = retry_after


class FieldError(ConfigError):
    """A field of a request has a value that cannot be used.

    Args:
        param: name of the field.
        message: one sentence.
    """

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


def not_found(message: str) -> ApiError:
    """What is asked for is not there."""
    return ApiError(404, message)


def busy(what: str, seconds: int) -> ApiError:
    """Too much for now."""
    return ApiError(429, f"{what}; try again in {seconds} s.", retry_after=seconds)


def error_body(status: int, message: str, param: str | None = None) -> dict[str, Any]:
    """The body of an error."""
    default = "invalid_request_error" if status < 500 else "server_error"
    problem = Problem(message=message, type=TYPES.get(status, default), param=param)
    return ErrorBody(error=problem).model_dump()


def answer(error: HogwildError) -> JSONResponse:
    """The response to a request that failed."""
    headers = {}
    param = error.param if isinstance(error, ApiError | FieldError) else None
    if isinstance(error, ApiError):
        status = error.status
        if error.retry_after is not None:
            headers["Retry-After"] = str(error.retry_after)
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
    elif isinstance(error, ClusterError):
        status = 503
        headers["Retry-After"] = str(UNREADY_SECONDS)
    else:
        status = 400
    return JSONResponse(error_body(status, str(error), param), status, headers)


def handle_errors(app: FastAPI) -> None:
    """Let an app answer with errors of this form only."""

    @app.exception_handler(HogwildError)
    async def own(_: Request, error: HogwildError) -> JSONResponse:
        return answer(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        body = None if isinstance(error.body, str | bytes) else error.body  # no JSON
        place, what = first_fault(error, {"body": body, "query": dict(request.query_params)})
        place = place.removeprefix("body").removeprefix("query").lstrip(".")
        where = f" at {place!r}" if place else ""
        param = place or None
        return JSONResponse(
            error_body(400, f"The request is not right{where}: {what}.", param), 400
        )

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> JSONResponse:
        message = f"{request.method} {request.url.path[:100]}: {error.detail}."
        return JSONResponse(
            error_body(error.status_code, message), error.status_code, error.headers
        )
