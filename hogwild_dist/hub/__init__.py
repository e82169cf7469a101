"""Finding, fetching and converting models."""

from hogwild_dist.hub.demo import DEMO_MODEL, fetch_demo
from hogwild_dist.hub.progress import Progress, ProgressHook
from hogwild_dist.hub.resolve import resolve_model
from hogwild_dist.hub.store import CachedModel, list_models

__all__ = [
    "DEMO_MODEL",
    "CachedModel",
    "Progress",
    "ProgressHook",
    "fetch_demo",
    "list_models",
    "resolve_model",
]
