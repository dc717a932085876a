"""Saving values: one file, no pickle, no code."""

from .file import load, read_about, save

__all__ = ["load", "read_about", "save"]
