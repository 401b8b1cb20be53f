"""Where compiled code is kept; without JAX, for those who only ask."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where compiled code is kept: ``JAX_COMPILATION_CACHE_DIR``, else in the user's cache."""
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if chosen:
        return Path(chosen)
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "rewardsmith" / "jax"
