"""The command line: jaxrecon demo, jaxrecon reconstruct, jaxrecon info."""

from .app import app, main

__all__ = ["app", "main"]
