"""The X-ray transform of a circular cone beam."""

from .operator import ConeBeamXRay

__all__ = ["ConeBeamXRay"]
