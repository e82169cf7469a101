"""Pages of the site that are not in docs/: README, CONTRIBUTING, and one page for each module.

mkdocs.yml names this file under `hooks`, so MkDocs calls `on_config` and `on_files`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PACKAGE = "hogwild_dist"

COPIES = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md"}
"""Page -> the file at the top of the repository that it shows."""


def on_config(config: MkDocsConfig) -> None:
    """Append the decisions and the modules to the navigation."""
    assert config.nav is not None
    records = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("0*.md"))
    config.nav += [
        {"Decisions": [f"decisions/{name}" for name in ("README.md", *records)]},
        {"API": section(PurePosixPath("api", PACKAGE), list(module_pages(ROOT / PACKAGE)))},
    ]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages."""
    for page, source in COPIES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        text = text.replace("](docs/", "](").replace("](CONTRIBUTING.md)", "](contributing.md)")
        files.append(File.generated(config, page, content=text))
    for path in module_pages(ROOT / PACKAGE):
        parts = path.parent.parts if path.stem == "index" else path.with_suffix("").parts
        name = ".".join(parts[1:])
        files.append(File.generated(config, str(path), content=f"# {name}\n\n::: {name}\n"))


def module_pages(folder: Path) -> Iterator[PurePosixPath]:
    """Yield the pages of a package and of all public modules in it.

    Args:
        folder: the package's folder; links in it are followed.
    """
    pages = PurePosixPath("api", folder.relative_to(ROOT).as_posix())
    yield pages / "index.md"
    for path in sorted(folder.iterdir()):
        if (path / "__init__.py").exists():
            yield from module_pages(path)
        elif path.suffix == ".py" and not path.name.startswith("_"):
            yield pages / f"{path.stem}.md"


def section(folder: PurePosixPath, pages: Sequence[PurePosixPath]) -> list[Any]:
    """Return the navigation of a package: its own page, its modules and its packages."""
    entries: list[Any] = [str(folder / "index.md")]
    for page in pages:
        if page.parent == folder and page.stem != "index":
            entries.append({page.stem: str(page)})
        elif page.parent.parent == folder and page.stem == "index":
            entries.append({page.parent.name: section(page.parent, pages)})
    return entries
