"""A Hub of our own on this machine, for the unmodified client: see `HubServer`."""

from .server import HubServer

__all__ = ["HubServer"]
