"""Filtered back-projection and its cone-beam form."""

from .reconstructor import FBP, fbp

__all__ = ["FBP", "fbp"]
