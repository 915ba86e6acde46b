"""Amount of messages on stderr: `--quiet`, the default, `--verbose`."""

from __future__ import annotations

from contextvars import ContextVar
from enum import IntEnum

from genomeformer_cli.core.errors import UsageError


class Verbosity(IntEnum):
    """Levels of messages, each with those below it."""

    QUIET = 0  # warnings and errors
    NORMAL = 1  # progress and notes
    VERBOSE = 2  # details and timings


_verbosity: ContextVar[Verbosity] = ContextVar("verbosity", default=Verbosity.NORMAL)


def current_verbosity() -> Verbosity:
    """Return the verbosity of the running command."""
    return _verbosity.get()


def reset_verbosity() -> None:
    """Return to the default, before a command line is parsed."""
    _verbosity.set(Verbosity.NORMAL)


def set_verbosity(*, quiet: bool, verbose: bool) -> None:
    """Apply the options of a command line; without either, the level stays.

    Raises:
        UsageError: Both options are given, before or after the command.
    """
    options = ((Verbosity.QUIET, quiet), (Verbosity.VERBOSE, verbose))
    levels = [level for level, is_set in options if is_set]
    if not levels:
        return
    if len(levels) > 1 or current_verbosity() not in (Verbosity.NORMAL, levels[0]):
        raise UsageError("`--quiet` and `--verbose` exclude each other", hint="give one of them")
    _verbosity.set(levels[0])
