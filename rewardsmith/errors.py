"""Every way in which rewardsmith can fail, one class each, under one root.

A message says what was expected, what came, and what to do. ``exit_code`` is what ``gen.py``
returns when the error ends the run: 2 where the user has to change something first, else 1.
"""

from __future__ import annotations


class RewardsmithError(Exception):
    """Root of all errors that rewardsmith raises on purpose."""

    exit_code = 1


class ConfigurationError(RewardsmithError):
    """A configuration value is not allowed. Nothing has been spent yet."""

    exit_code = 2


class TaskError(RewardsmithError):
    """The environment cannot be built, or does not deliver what its task declares."""

    exit_code = 2


class ResultsError(RewardsmithError):
    """A run directory cannot be read or written."""

    exit_code = 2


class StorageError(ResultsError):
    """Nothing more can be written: the disk is full, or the folder is read-only."""


class SandboxUnavailable(RewardsmithError):
    """The reward process cannot be locked down as the configuration demands."""

    exit_code = 2


class RenderingError(RewardsmithError):
    """An episode cannot be filmed or shown; nothing else is lost by it."""


class WorkerError(RewardsmithError):
    """A worker process failed or died.

    Attributes:
        traceback: the worker's own traceback, empty if it was killed.
    """

    def __init__(self, message: str, traceback: str = "") -> None:
        """Keep the traceback beside the message."""
        super().__init__(message)
        self.traceback = traceback


class ProviderError(RewardsmithError):
    """One request to a provider failed for good; other requests may still succeed."""


class ProviderUnusable(ProviderError):
    """No request to this provider can succeed: no key, wrong key, unknown model, no such server."""

    exit_code = 2


class BudgetExceeded(ProviderError):
    """The next request could cost more than ``llm.max_usd`` has left."""


class ReplayMismatch(ProviderUnusable):
    """The recorded run holds no answer to this request."""


class HubError(RewardsmithError):
    """Nothing could be pushed to the Hugging Face Hub; what was exported is still there."""


class Interrupted(RewardsmithError):
    """The user pressed Ctrl-C, or the run was asked to stop."""

    exit_code = 130
