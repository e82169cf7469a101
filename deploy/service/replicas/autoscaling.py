"""How many groups a service wants: Ray Serve calls `wanted_groups` and keeps to its limits."""

from typing import Any

SESSIONS = "sessions"
"""Name of the figure that every group reports: sessions that run or wait."""


def wanted_groups(context: Any) -> tuple[float, dict[str, Any]]:
    """Groups for the sessions that there are.

    Args:
        context: Serve's `AutoscalingContext`; its target of ongoing requests is the number of
            sessions that a group should have.
    """
    figures = context.aggregated_metrics or {}
    sessions = sum(figures.get(SESSIONS, {}).values())
    return max(1.0, sessions / context.config.get_target_ongoing_requests()), {}
