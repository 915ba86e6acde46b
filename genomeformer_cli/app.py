"""The Typer application, and the only place where errors are caught."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, NoReturn

from typer import Context, Exit, Option, Typer

from genomeformer_cli._version import __version__
from genomeformer_cli.commands import cache
from genomeformer_cli.commands._deferred import DeferredGroup
from genomeformer_cli.commands._options import (
    QuietOption,
    VerboseOption,
    check_renamed,
)
from genomeformer_cli.core.errors import GenomeformerError, UsageError
from genomeformer_cli.core.settings import (
    has_launcher,
    is_main_process,
    launch_folder,
    postpone_collection,
)
from genomeformer_cli.render.streams import open_missing_streams
from genomeformer_cli.render.verbosity import reset_verbosity, set_verbosity

_INTERRUPTED = 130
# The system's words for a library that there is no memory for.
_NOT_LOADED = "failed to map segment"


class _Commands(DeferredGroup):
    names = (
        *("fetch", "tokenize", "windows", "pretrain", "compare", "embed", "evaluate", "score"),
        *("explain", "finetune", "predict", "generate", "release", "models", "doctor"),
    )


app = Typer(
    name="genomeformer",
    cls=_Commands,
    help="From genomes to a released genome language model.",
    epilog="Start here:  genomeformer embed sequences.fa > vectors.npy",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(cache.app, name="cache")


@app.callback(invoke_without_command=True)
def options(  # noqa: PLR0913 - one parameter per option
    context: Context,
    *,
    debug: Annotated[bool, Option("--debug", help="Show the traceback of a failure.")] = False,
    version: Annotated[bool, Option("--version", help="Show the version.")] = False,
    as_json: Annotated[
        bool, Option("--json", help="With `--version`: also of Python, torch, the model, as JSON.")
    ] = False,
    record: Annotated[
        list[Path] | None,
        Option(
            help="File for the record of the run: command, versions, inputs, model and outputs as "
            "RO-Crate (`ro-crate-metadata.json`), or the versions (`versions.yml`); may be "
            "repeated.",
            show_default=False,
        ),
    ] = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Options before any command."""
    del debug
    set_verbosity(quiet=quiet, verbose=verbose)
    if record:
        _start_record(record, context.invoked_subcommand or "")
    if version:
        _show_version(as_json=as_json)
        raise Exit
    if as_json:
        raise UsageError(
            "before a command, `--json` needs `--version`",
            hint="give `--json` after the command's name",
        )
    if context.invoked_subcommand is None:
        raise UsageError("missing command", hint="`genomeformer --help` lists the commands")


def _show_version(*, as_json: bool) -> None:
    if not as_json:
        sys.stdout.write(f"genomeformer {__version__}\n")
        return
    from genomeformer_cli.core.workflows.versions import collect_versions
    from genomeformer_cli.render.console import show

    show(collect_versions(), "", as_json=True)


def _start_record(paths: list[Path], command: str) -> None:
    from genomeformer_cli.core.store.run_record import start_record
    from genomeformer_cli.core.workflows.versions import version_texts

    start_record(paths, command, sys.argv[1:], version_texts())


def _end_record(*, is_successful: bool) -> None:
    """Write the record of the run, if `--record` was given."""
    module = sys.modules.get("genomeformer_cli.core.store.run_record")
    if module is not None:
        module.end_record(is_successful=is_successful)


def _check_working_folder() -> None:
    """Refuse a deleted working directory here: numerical libraries abort the process in one."""
    try:
        Path.cwd()
    except FileNotFoundError as failure:
        raise UsageError(
            "the working directory no longer exists", hint="`cd` to one that does"
        ) from failure


def _end_quietly() -> NoReturn:
    """End without a message: the reader of standard output has left."""
    sys.stderr.close()
    sys.exit(0)


def _report(failure: Exception) -> int:
    """Print a failure, also if there is no memory to import the module that prints it."""
    try:
        from genomeformer_cli.render.failures import report_failure

        return report_failure(check_renamed(failure))
    except (MemoryError, ImportError) as late:
        if isinstance(late, ImportError) and _NOT_LOADED not in str(late):
            raise
        sys.stderr.write("error: not enough memory\n\nhint: use a machine with more memory\n")
        return GenomeformerError.exit_code


@contextmanager
def _unwound_by_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the command as Ctrl-C does, which removes temporary files, then end it.

    Processes that train together end at once: one may wait in native code for one that is gone.
    """
    is_ours = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    is_main_thread = threading.current_thread() is threading.main_thread()
    if not (is_ours and is_main_thread) or has_launcher():
        yield
        return
    received: list[int] = []

    def interrupt(number: int, _: object) -> None:
        received.append(number)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends the process at once
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if received:
            os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Run the command line; every failure ends here, as a sentence, a hint and an exit code."""
    with _unwound_by_sigterm():
        _run()


def _run() -> NoReturn:
    postpone_collection()
    debug = "--debug" in sys.argv[1:]
    try:
        open_missing_streams()
        reset_verbosity()
        _check_working_folder()
        code = app(standalone_mode=False)
        sys.stdout.flush()
        _end_record(is_successful=code in (None, 0))
    except KeyboardInterrupt:  # Typer catches those within a command
        code = _INTERRUPTED
    except BrokenPipeError:
        _end_quietly()
    except SystemExit as finished:
        if isinstance(finished.__context__, BrokenPipeError):  # Typer makes an exit of it
            _end_quietly()
        raise
    except Exception as failure:
        with suppress(GenomeformerError):
            _end_record(is_successful=False)
        if debug:
            raise
        sys.exit(_report(failure))
    if code == _INTERRUPTED and launch_folder() is None and is_main_process():
        from genomeformer_cli.render.failures import print_failure

        print_failure("interrupted", "run the same command again; what was finished is kept")
    sys.exit(code if isinstance(code, int) else 0)
