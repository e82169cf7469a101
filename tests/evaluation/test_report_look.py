"""The report's plots in a real browser, on light and on dark paper."""

from pathlib import Path

import pytest

from hogwild_dist.evaluation.records import Records
from hogwild_dist.evaluation.report import write_report
from tests.browser import browser, sync_api
from tests.evaluation.test_report import records

__all__ = ["browser", "records"]

COLOURS = """() => {
  const style = (one) => getComputedStyle(one);
  const svg = document.querySelector(".plots svg");
  return {
    paper: style(document.body).backgroundColor,
    figure: style(svg.closest("figure")).backgroundColor,
    ink: style(document.body).color,
    text: style(svg.querySelector("text")).fill,
    ticks: [...svg.querySelectorAll("use")].map((one) => style(one).stroke),
    filled: [...svg.querySelectorAll("path")].map((one) => style(one).fill),
  };
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_plots_have_the_colours_of_the_page(
    browser: sync_api.Browser, records: Records, tmp_path: Path, scheme: str
) -> None:
    path = tmp_path / "report.html"
    write_report(records, path)
    page = browser.new_page(color_scheme=scheme)
    page.goto(path.as_uri())
    seen = page.evaluate(COLOURS)
    page.close()
    assert seen["text"] == seen["ink"]
    assert seen["ink"] in seen["ticks"]
    if scheme == "dark":
        white, black = "rgb(255, 255, 255)", "rgb(0, 0, 0)"
        assert white not in (seen["paper"], seen["figure"], *seen["filled"])
        assert black not in (seen["text"], *seen["ticks"])
