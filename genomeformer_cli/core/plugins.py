"""Extensions of other installed packages, found by their entry points.

A package adds an entry to a registry by an entry point: its group is the registry, its name that of
the entry, and its object the entry itself. The names are read from the metadata of the installed
packages; the code of a package is imported when its entry is used or described.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from genomeformer_cli.core.errors import ConfigError

ATTENTION, ARCHITECTURE = "genomeformer.attention", "genomeformer.architectures"
GROUPS = {ATTENTION: "attention", ARCHITECTURE: "architecture"}
Entry = TypeVar("Entry")
# A name is typed in a shell; `+` joins names of mechanisms.
_UNUSABLE_IN_NAMES = frozenset("+,= \t")


@dataclass(frozen=True)
class Plugin:
    """Entry of a registry that another package provides."""

    package: str  # Name of the installed package.
    version: str  # Version of the package.
    folder: str  # Folder that holds the package.
    point: EntryPoint  # Group, name, and place of the object.

    @property
    def described(self) -> str:
        """Kind, name and package, for messages."""
        kind = GROUPS[self.point.group]
        return f"the {kind} `{self.point.name}` of the package `{self.package}` {self.version}"

    def load(self, kind: type[Any]) -> Any:
        """Import the entry.

        Args:
            kind: Required class.

        Raises:
            ConfigError: The package cannot be imported, or the object is not an entry.
        """
        entry = _load(self)
        if not isinstance(entry, kind):
            raise ConfigError(
                f"{self.described} is not an `{kind.__name__}`: `{self.point.value}`",
                hint=self.hint,
            )
        return entry

    @property
    def hint(self) -> str:
        """Next step for a plugin that cannot be used."""
        return f"update or uninstall `{self.package}`"


@cache
def _load(plugin: Plugin) -> Any:
    try:
        return plugin.point.load()
    except (Exception, SystemExit) as failure:  # code of others, which may raise anything
        raise ConfigError(
            f"{plugin.described} cannot be imported from `{plugin.point.value}`: "
            f"{type(failure).__name__}: {failure}",
            hint=plugin.hint,
        ) from failure


def installed_plugins(group: str) -> tuple[Plugin, ...]:
    """Return the entries that installed packages declare, by name; nothing is imported."""
    return _installed(group, tuple(sys.path))


@cache
def _installed(group: str, path: tuple[str, ...]) -> tuple[Plugin, ...]:
    del path
    plugins = [
        Plugin(
            package=point.dist.name if point.dist else "?",
            version=point.dist.version if point.dist else "?",
            folder=str(point.dist.locate_file("")) if point.dist else "",
            point=point,
        )
        for point in entry_points(group=group)
    ]
    return tuple(sorted(plugins, key=lambda plugin: (plugin.point.name, plugin.package)))


def check_names(plugins: tuple[Plugin, ...], own: Mapping[str, Any]) -> None:
    """Check that every name is usable and belongs to one entry.

    Args:
        plugins: Entries of other packages.
        own: Entries of this package.

    Raises:
        ConfigError: A name is taken, or cannot be typed.
    """
    providers: dict[str, str] = dict.fromkeys(own, "genomeformer itself")
    for plugin in plugins:
        name = plugin.point.name
        if not name or _UNUSABLE_IN_NAMES & set(name):
            raise ConfigError(f"invalid name of {plugin.described}", hint=plugin.hint)
        if name in providers:
            raise ConfigError(
                f"{plugin.described} has the name of one of {providers[name]}", hint=plugin.hint
            )
        providers[name] = f"the package `{plugin.package}`"


class Registry(Mapping[str, Entry]):
    """Named entries of this package, and those of others that are installed.

    Args:
        group: Group of the entry points.
        kind: Class of the entries.
        own: Entries of this package, which come first.
    """

    def __init__(self, group: str, kind: type[Entry], own: Mapping[str, Entry]) -> None:
        self._group, self._kind, self._own = group, kind, own

    @property
    def plugins(self) -> dict[str, Plugin]:
        """Entries of other packages, by name.

        Raises:
            ConfigError: Two entries have one name.
        """
        plugins = installed_plugins(self._group)
        check_names(plugins, self._own)
        return {plugin.point.name: plugin for plugin in plugins}

    def __getitem__(self, name: str) -> Entry:
        plugins = self.plugins
        if name in plugins:
            entry: Entry = plugins[name].load(self._kind)
            return entry
        return self._own[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from self.plugins

    def __len__(self) -> int:
        return len(self._own) + len(self.plugins)

    def __contains__(self, name: object) -> bool:
        # The default would import the package.
        return isinstance(name, str) and (name in self._own or name in self.plugins)
