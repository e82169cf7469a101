"""Errors of the HTTP interface, in OpenAI's format."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from hogwild_dist.actors.errors import ClusterError, EndedError
from hogwild_dist.errors import ConfigError, ContextLimitError, HogwildError, SessionError
from hogwild_dist.team.user_files import first_fault

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
"""HTTP status -> error type; other statuses are request errors, or server errors from 500 on."""

CONTEXT_CODE = "context_length_exceeded"
"""OpenAI's code of a prompt that is too long."""

CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
"""HTTP status -> OpenAI's code, on which clients branch; other errors name theirs."""

UNREADY_SECONDS = 5
"""Retry-After of requests that find no group ready."""


class Problem(BaseModel):
    """Description of an error.

    Attributes:
        message: one sentence that names the value and the way out.
        type: OpenAI's type of the error.
        param: request field that caused the error.
        code: OpenAI's code, such as `context_length_exceeded`, or null.
    """

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """Body of every error response."""

    error: Problem


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": meaning}
    for status, meaning in (
        (400, "The request is invalid."),
        (401, "The key is missing or unknown."),
        (403, "The session belongs to another key."),
        (404, "The session, worker or model does not exist."),
        (409, "The session has ended, or has not ended yet."),
        (413, "The body is too large."),
        (415, "The Content-Type is not application/json."),
        (429, "A quota is used up, or the queue is full; see Retry-After."),
        (503, "No group of shards is ready; see Retry-After."),
    )
}
"""Error responses, for the OpenAPI document."""


class ApiError(HogwildError):
    """An error with an HTTP status.

    Args:
        status: HTTP status code.
        message: one sentence that names the value and the way out.
        param: request field that caused the error.
        code: OpenAI's code of the error.
        retry_after: seconds to wait before a retry, if a retry can help.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code or CODES.get(status)
        self.retry_after = retry_after


class FieldError(ConfigError):
    """An invalid value of a request field.

    Args:
        param: name of the field.
        message: one sentence that names the value and the way out.
        code: OpenAI's code of the error.
    """

    def __init__(self, param: str, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


def not_found(message: str) -> ApiError:
    """Return an error with status 404."""
    return ApiError(404, message)


def busy(what: str, seconds: int) -> ApiError:
    """Return an error with status 429, whose message says when to try again."""
    return ApiError(429, f"{what}; try again in {seconds} s.", retry_after=seconds)


def error_body(
    status: int, message: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """Return the body of an error response."""
    default = "invalid_request_error" if status < 500 else "server_error"
    problem = Problem(message=message, type=TYPES.get(status, default), param=param, code=code)
    return ErrorBody(error=problem).model_dump()


def answer(error: HogwildError) -> JSONResponse:
    """Return the response to a failed request."""
    headers = {}
    param, code = None, None
    if isinstance(error, ApiError | FieldError):
        param, code = error.param, error.code
    elif isinstance(error, ContextLimitError):
        code = CONTEXT_CODE
    if isinstance(error, ApiError):
        status = error.status
        if error.retry_after is not None:
            headers["Retry-After"] = str(error.retry_after)
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
    elif isinstance(error, ClusterError):
        status = 503
        headers["Retry-After"] = str(UNREADY_SECONDS)
    elif isinstance(error, SessionError):
        status = 500
    elif isinstance(error, EndedError):  # since the request was checked
        status = 409
    else:
        status = 400
    return JSONResponse(error_body(status, str(error), param, code), status, headers)


def handle_errors(app: FastAPI) -> None:
    """Make an app return every error in this format."""

    @app.exception_handler(HogwildError)
    async def own(_: Request, error: HogwildError) -> JSONResponse:
        return answer(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        body = None if isinstance(error.body, str | bytes) else error.body  # not JSON
        place, what = first_fault(error, {"body": body, "query": dict(request.query_params)})
        place = place.removeprefix("body").removeprefix("query").lstrip(".")
        where = f" at {place!r}" if place else ""
        param = place or None
        return JSONResponse(error_body(400, f"The request is invalid{where}: {what}.", param), 400)

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> JSONResponse:
        message = f"{request.method} {request.url.path[:100]}: {error.detail}."
        return JSONResponse(
            error_body(error.status_code, message), error.status_code, error.headers
        )
