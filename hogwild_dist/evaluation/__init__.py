"""Measuring teams on questions with known answers."""

from hogwild_dist.evaluation.dataset import Item, read_items
from hogwild_dist.evaluation.grading import GraderKind, GraderPool
from hogwild_dist.evaluation.stats import wilson

__all__ = ["GraderKind", "GraderPool", "Item", "read_items", "wilson"]
