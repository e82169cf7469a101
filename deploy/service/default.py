"""The application with all defaults, for `serve build`, which takes no builder function."""

from hogwild_dist.deploy.service.app import application
from hogwild_dist.deploy.service.config import ServiceConfig

app = application(ServiceConfig())
