"""Whether the workers of a cluster have the versions that this machine has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from src_core.errors import ConfigError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["require_same_versions"]

_PACKAGES = ("napari-fusecpath", "torch", "dask", "distributed")
"""Other versions of these read other tasks, or come to other figures."""


def require_same_versions(client: Client) -> None:
    """Raise `ConfigError` unless every worker that is there has this machine's packages.

    Builds of one version, as for a processor or for CUDA, are the same.
    """
    found: Any = client.get_versions(packages=list(_PACKAGES))
    here = found["client"]["packages"]
    for address, worker in sorted(found["workers"].items()):
        for name in _PACKAGES:
            ours, theirs = (_public(side.get(name)) for side in (here, worker["packages"]))
            if ours != theirs:
                raise ConfigError(
                    f"The worker at {address} has {name} {theirs}, this machine {ours}; install "
                    "the same version on both, start the worker again and run this again."
                )


def _public(version: str | None) -> str:
    """Return a version without what names its build."""
    return "(none)" if version is None else version.partition("+")[0]
