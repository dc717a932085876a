"""The command line: jaxrecon demo, reconstruct, train, evaluate, info."""

from .app import app, main

__all__ = ["app", "main"]
