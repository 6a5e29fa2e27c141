"""A workflow file's job as the message that the service would send for it."""

from .event import Event, Inputs
from .message import Built, build

__all__ = ["Built", "Event", "Inputs", "build"]
