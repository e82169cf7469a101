"""The application with all defaults, for Serve's commands that take no builder: `serve build`."""

from deploy.service.app import application
from deploy.service.config import ServiceConfig

app = application(ServiceConfig())
