"""jaxrecon info: what a bug report needs."""

from __future__ import annotations

import importlib.metadata
import platform


def installed(package: str) -> str:
    """The version of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def run() -> None:
    import jax
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    for package in ("jaxrecon", "jax", "jaxlib", "flax", "optax", "numpy", "matplotlib"):
        table.add_row(package, installed(package))
    table.add_row("python", f"{platform.python_version()} ({platform.system()} {platform.machine()})")
    table.add_row("devices", ", ".join(f"{d.platform}:{d.id} {d.device_kind}" for d in jax.devices()))
    table.add_row("x64", "on" if jax.config.read("jax_enable_x64") else "off")
    Console(soft_wrap=True).print(table)
