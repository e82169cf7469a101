"""The application with all defaults, for Serve's commands that take no builder: `serve build`."""

from hogwild_dist.deploy.service.app import application
from hogwild_dist.deploy.service.config import ServiceConfig

app = application(ServiceConfig())
