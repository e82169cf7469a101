"""The Ray Serve application: stateless HTTP ingresses in front of groups of shards.

serve run hogwild_dist.deploy.service.app:build_app model=smollm2-135m
serve deploy deploy/serve.yaml
"""

from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import EncodingType, LoggingConfig

from hogwild_dist.actors.logs import write_structured
from hogwild_dist.deploy.service.config import ServiceConfig, service_config
from hogwild_dist.deploy.service.http.app import build_http
from hogwild_dist.deploy.service.http.dependencies import Service
from hogwild_dist.deploy.service.keys import Keyring
from hogwild_dist.deploy.service.metrics import ServiceMetrics
from hogwild_dist.deploy.service.replicas.group_replica import GroupReplica
from hogwild_dist.deploy.service.sessions.session_service import SessionService

MAX_REQUESTS = 2_000
"""Concurrent requests of one ingress; most of them wait for tokens."""

CHECK_SECONDS = 2.0
"""Time between two health checks; a group is asked to write a token only if it has not lately."""

LOOK_BACK_SECONDS = 15.0
"""Window over which Serve averages the number of sessions; replicas report every 10 seconds."""

LOGGING = LoggingConfig(encoding=EncodingType.JSON, enable_access_log=False)
"""Logging of Serve itself; the ingress logs every request in its own log."""


@serve.ingress()
class Ingress:
    """An HTTP server that keeps no session state; it asks the groups for everything.

    Args:
        config: configuration of the service.
        groups: handle that makes Serve start and scale the groups; they are called by name.
    """

    def __init__(self, config: ServiceConfig, groups: DeploymentHandle[Any]) -> None:
        del groups
        write_structured(service=config.name)
        self._service = Service(
            config=config,
            sessions=SessionService(config),
            keyring=Keyring(config.keys),
            metrics=ServiceMetrics(config.name, config.load_settings.model),
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return the ASGI app for Serve."""
        return build_http(self._service)


def build_app(arguments: dict[str, Any]) -> serve.Application:
    """Build the application for `serve run` and `serve deploy`.

    Args:
        arguments: fields of `ServiceConfig`.

    Raises:
        ConfigError: a field is invalid.
    """
    return application(service_config(arguments))


def application(config: ServiceConfig) -> serve.Application:
    """Return the Serve application of a service."""
    groups = serve.deployment(
        name="Group",
        ray_actor_options={"num_cpus": 0},
        health_check_period_s=min(CHECK_SECONDS, config.health_seconds),
        health_check_timeout_s=2 * config.health_seconds,
        graceful_shutdown_timeout_s=10.0,
        max_surge_percent=100 if config.scale.overlap else 0,
        logging_config=LOGGING,
        **_scale(config),
    )(GroupReplica).bind(config)
    ingress = serve.deployment(
        name="Ingress",
        num_replicas=config.scale.ingresses,
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=MAX_REQUESTS,
        max_surge_percent=100,
        logging_config=LOGGING,
    )(Ingress)
    return ingress.bind(config, groups)


def _scale(config: ServiceConfig) -> dict[str, Any]:
    """Return the options that set the number of groups."""
    scale = config.scale
    if scale.min_groups == scale.max_groups:
        return {"num_replicas": scale.min_groups}
    return {
        "autoscaling_config": AutoscalingConfig(
            min_replicas=scale.min_groups,
            max_replicas=scale.max_groups,
            target_ongoing_requests=scale.sessions_per_group,
            look_back_period_s=LOOK_BACK_SECONDS,
            upscale_delay_s=scale.upscale_delay_seconds,
            downscale_delay_s=scale.downscale_delay_seconds,
            policy=AutoscalingPolicy(
                policy_function="hogwild_dist.deploy.service.replicas.autoscaling:wanted_groups"
            ),
        )
    }
