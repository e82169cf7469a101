"""The autoscaling policy of groups, which Ray Serve calls and clamps to its limits."""

from typing import Any

SESSIONS = "sessions"
"""Name of the metric that every group reports: its running and waiting sessions."""


def wanted_groups(context: Any) -> tuple[float, dict[str, Any]]:
    """Return the number of groups that the current sessions need.

    Args:
        context: Serve's `AutoscalingContext`, whose target of ongoing requests is the intended
            number of sessions per group.
    """
    figures = context.aggregated_metrics or {}
    sessions = sum(figures.get(SESSIONS, {}).values())
    return max(1.0, sessions / context.config.get_target_ongoing_requests()), {}
