"""Plots of accuracy and redundancy."""

import io
import warnings
from collections.abc import Sequence
from statistics import fmean

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hogwild_dist.evaluation.records import Record
from hogwild_dist.evaluation.summary import Row

SIZE = (6.4, 3.8)
"""Width and height of a figure in inches."""


@matplotlib.rc_context({"text.parse_math": False})  # names may hold dollar signs
def accuracy_plot(rows: Sequence[Row]) -> Figure:
    """Plot each team's accuracy over sequential forward passes, with 95 % intervals.

    The paper's figures use the same axis. A budget is plotted at its number of forwards, the end at
    the mean of the runs.
    """
    figure, axes = _axes("sequential forwards", "accuracy")
    teams = list(dict.fromkeys(row.team for row in rows))
    max_forwards = max(map(_forwards, rows), default=0.0)
    lines = []
    for index, team in enumerate(teams):
        team_rows = sorted((row for row in rows if row.team == team), key=_forwards)
        # Shifted, because teams share budgets and their intervals would overlap.
        offset = (index - (len(teams) - 1) / 2) * max_forwards / 100
        positions = [_forwards(row) + offset for row in team_rows]
        shares = [row.accuracy for row in team_rows]
        colour = f"C{index}"
        lines += axes.plot(positions, shares, marker="o", markersize=4, color=colour)
        low = [row.accuracy - row.low for row in team_rows]
        high = [row.high - row.accuracy for row in team_rows]
        axes.errorbar(
            positions, shares, (low, high), fmt="none", ecolor=colour, alpha=0.5, capsize=3, lw=1
        )
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlim(left=0)
    axes.legend(lines, teams, frameon=False)
    return figure


@matplotlib.rc_context({"text.parse_math": False})  # names may hold dollar signs
def redundancy_plot(records: Sequence[Record], teams: Sequence[str]) -> Figure:
    """Plot the redundancy of each worker: a dot for each run, and a bar for their mean."""
    figure, axes = _axes("", "redundancy")
    labels: list[str] = []
    for index, team in enumerate(teams):
        ran = [record for record in records if record.team == team and record.ran]
        for worker in dict.fromkeys(name for record in ran for name in record.redundancy):
            shares = [one.redundancy[worker] for one in ran if worker in one.redundancy]
            position = len(labels)
            axes.bar(position, fmean(shares), color=f"C{index}", alpha=0.35)
            axes.plot([position] * len(shares), shares, ".", color=f"C{index}", alpha=0.6)
            labels.append(f"{team}\n{worker}")
    axes.set_xticks(range(len(labels)), labels, fontsize="small", rotation=30, ha="right")
    axes.set_ylim(0, 1.03)
    return figure


def as_svg(figure: Figure) -> str:
    """Return a figure as an `<svg>` element; equal figures give equal text."""
    text = io.StringIO()
    with (
        matplotlib.rc_context({"svg.hashsalt": "hogwild", "svg.fonttype": "none"}),
        warnings.catch_warnings(),
    ):
        # The viewer supplies the fonts.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _axes(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    return figure, axes


def _forwards(row: Row) -> float:
    return row.forwards if row.budget is None else row.budget
