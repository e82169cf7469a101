"""The page, and its files."""

from importlib import resources

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

FOLDER = resources.files("deploy.service").joinpath("page")

router = APIRouter(include_in_schema=False)


@router.get("/")
async def index() -> FileResponse:
    """The page itself."""
    return FileResponse(str(FOLDER.joinpath("index.html")), headers={"Cache-Control": "no-cache"})


def add_files(app: FastAPI) -> None:
    """Serve the page's scripts and styles."""
    app.mount("/page", StaticFiles(directory=str(FOLDER)), name="page")
