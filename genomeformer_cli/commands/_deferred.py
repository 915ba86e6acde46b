"""Commands whose modules are imported, and whose options are read, when they are first needed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from typer import Typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from genomeformer_cli.commands._options import with_verbosity

# Two thirds of the import of `typer.rich_utils`, for Markdown and tracebacks, which it shows
# neither of here.
_UNUSED_IN_HELP = {"rich.markdown": "Markdown", "rich.traceback": "Traceback"}
_OF_MODULE = ("help", "epilog")
_OF_OPTIONS = ("params", "callback")


@contextmanager
def _light_help() -> Iterator[None]:
    """Import `typer.rich_utils` without the renderers that no help text of this program needs."""
    absent = [name for name in _UNUSED_IN_HELP if name not in sys.modules]
    for name in absent:
        module = ModuleType(name)
        setattr(module, _UNUSED_IN_HELP[name], type(_UNUSED_IN_HELP[name], (), {}))
        sys.modules[name] = module
    try:
        import typer.rich_utils  # noqa: F401

        yield
    finally:
        for name in absent:
            del sys.modules[name]


class DeferredCommand(TyperCommand):
    """Command of `genomeformer_cli.commands.NAME`; the module is imported on first use."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, rich_markup_mode="rich")
        for field in (*_OF_MODULE, *_OF_OPTIONS):
            del self.__dict__[field]

    def __getattr__(self, field: str) -> Any:
        if field not in (*_OF_MODULE, *_OF_OPTIONS):
            raise AttributeError(field)
        module = import_module(f"genomeformer_cli.commands.{self.name}")
        if field in _OF_MODULE:
            self.help, self.epilog = module.command.__doc__, module.EXAMPLE
        else:
            app = Typer(add_completion=False, pretty_exceptions_enable=False)
            app.command()(with_verbosity(module.command))
            command = get_command(app)
            self.params, self.callback = command.params, command.callback
        return self.__dict__[field]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help text."""
        with _light_help():
            super().format_help(ctx, formatter)


class DeferredGroup(TyperGroup):
    """Group of deferred commands, before its subgroups."""

    names: tuple[str, ...] = ()

    def __init__(self, *, commands: Any = None, **options: Any) -> None:
        deferred = {name: DeferredCommand(name) for name in self.names}
        super().__init__(commands={**deferred, **(commands or {})}, **options)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help text."""
        with _light_help():
            super().format_help(ctx, formatter)
