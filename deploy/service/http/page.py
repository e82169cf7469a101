"""The routes of the page and its files."""

from importlib import resources
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response

FOLDER = resources.files("hogwild_dist.deploy.service").joinpath("page")

NO_CACHE = {"Cache-Control": "no-cache"}
"""Makes browsers revalidate each file, so that files of two versions are never mixed."""

router = APIRouter(include_in_schema=False)


class Files(StaticFiles):
    """The page's scripts and styles."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Return a file, or status 304 if it has not changed."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(NO_CACHE)
        return response


@router.get("/")
async def index() -> FileResponse:
    """Return the page."""
    return FileResponse(str(FOLDER.joinpath("index.html")), headers=NO_CACHE)


def add_files(app: FastAPI) -> None:
    """Serve the page's scripts and styles."""
    app.mount("/page", Files(directory=str(FOLDER)), name="page")
