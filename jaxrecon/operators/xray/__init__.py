"""The X-ray transform: Joseph's method as a matched pair of gathers."""

from .operator import XRay

__all__ = ["XRay"]
