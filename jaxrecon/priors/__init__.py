"""Priors: one family per file."""
