"""Finding, fetching and converting models."""

from hogwild_dist.model.hub.demo import DEMO_MODEL, fetch_demo
from hogwild_dist.model.hub.progress import Progress, ProgressHook
from hogwild_dist.model.hub.resolve import resolve_model
from hogwild_dist.model.hub.store import CachedModel, list_models

__all__ = [
    "DEMO_MODEL",
    "CachedModel",
    "Progress",
    "ProgressHook",
    "fetch_demo",
    "list_models",
    "resolve_model",
]
