"""Options that several commands share, declared once, and the new names of former options."""

from __future__ import annotations

import functools
import inspect
import re
import sys
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from typer import Context, Exit, Option

from genomeformer_cli.commands._completion import (
    complete_genomes,
    complete_models,
    complete_presets,
)
from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.render.verbosity import set_verbosity

Config = TypeVar("Config")

_MESSAGES, _COMPUTE, _MODEL, _TRAINING = "Messages", "Compute", "Model", "Training"
_GENOMES = "Genomes"

MODEL_HELP = (
    "A released model or run in the cache, a folder, an archive, `hf://ORG/NAME@REVISION`, or "
    "`default`, the one that came with the package."
)
# First sentences of options that several commands detail.
NAME_HELP = "Name of the result in the cache."
OUTPUT_HELP = "Path of the result."
PLOT_HELP = "Picture of the result."
RESUME_HELP = "Continue an interrupted run of the same command."
# Help texts of options whose types or defaults differ between commands.
GFF_HELP = "GFF3 or GenBank file of the annotation, packed or not."
ANNOTATION_HELP = f"{GFF_HELP} Of the given sequences, or with sequences in it."
ATTENTION_HELP = (
    "Mechanism, such as `softmax` or `linear`; `linear+local` alternates from block to block. "
    "`compare` takes several, separated by commas; default there: all, or none beside variants."
)
CORPUS_HELP = "Corpus made by `tokenize`; default of `evaluate`: that of the model's training."
DRY_RUN_HELP = (
    "Report and stop: genomes and disk space of `fetch`, files of `release --push`, memory of each "
    "plan of `pretrain`."
)
DTYPE_HELP = "Precision of the written numbers; computation is in float32."
GENOME_HELP = (
    "Genome in the cache, or a file for all commands but `tokenize` and `windows`, which "
    "take several."
)
JOBS_HELP = "Number of parallel jobs on the CPU; results do not depend on it."
LAYERS_HELP = (
    "Layers of the vectors: `last`, `mean`, `all`, or numbers such as `0,2,4`, concatenated, 0 for "
    "the token embedding. `release` stores its choice in the model, as `auto` of `embed`: layers "
    "of bases, and with `auto=LAYERS:POOL`, `placed=...`, `motif=...` or `composition=...`, "
    "repeated, vectors of sequences."
)
LIMIT_HELP = "Maximum number: of assemblies to fetch, the best first; of bases to inspect."
MERGE_HELP = (
    "Join what belongs together. `embed`: the outputs of all shards, given as sources, into `-o`."
)
LOCK_HELP = "Lock file of `fetch`: exactly its genomes."
ONLY_HELP = "Task of a folder of tasks: its name or the beginning of it; `evaluate` takes several."
SEED_HELP = "Seed of all random numbers; the first seed if there are several."
SEEDS_HELP = "Number of seeds, from `--seed` on, for a mean and its spread."
TAXON_HELP = (
    "NCBI taxon of any rank, name or taxid, with all its descendants; `fetch` takes several."
)
VCF_HELP = "Variants of a VCF file, or `-`, instead of sequences."
WINDOW_HELP = (
    "Longest window that the model reads at once, in tokens. Default: its training context. "
    "`embed` also takes `whole`: the state of a linear-memory model is passed along the sequence."
)

ModelOption = Annotated[
    str | None,
    Option(
        help=f"{MODEL_HELP} Without this: `default`.",
        show_default=False,
        autocompletion=complete_models,
    ),
]
ConfigOption = Annotated[
    Path | None,
    Option(help="TOML file of settings, such as the output of `--show-config`.", metavar="FILE"),
]
SetOption = Annotated[
    list[str] | None,
    Option(
        "--set",
        help="Any other setting, as `--show-config` lists them; may be repeated.",
        metavar="SECTION.KEY=VALUE",
    ),
]
ShowConfigOption = Annotated[
    bool, Option("--show-config", help="Print every setting, its value and meaning, and stop.")
]
QuietOption = Annotated[
    bool,
    Option("--quiet", help="Print only warnings and errors on stderr.", rich_help_panel=_MESSAGES),
]
VerboseOption = Annotated[
    bool,
    Option(
        "--verbose", help="Print details too: device, files, timings.", rich_help_panel=_MESSAGES
    ),
]
JsonOption = Annotated[bool, Option("--json", help="Write the result as JSON.")]
DeviceOption = Annotated[
    str, Option(help="`auto`, `cpu`, or a torch device such as `cuda:0`.", rich_help_panel=_COMPUTE)
]
ThreadsOption = Annotated[
    int | None,
    Option(
        min=1,
        help="CPU threads; default: every core, or `OMP_NUM_THREADS`.",
        rich_help_panel=_COMPUTE,
    ),
]
WorkersOption = Annotated[
    int | None,
    Option(
        min=1,
        help="CPU cores that compute batches side by side; results do not depend on it. Default: "
        "every core, or `OMP_NUM_THREADS`.",
        rich_help_panel=_COMPUTE,
    ),
]
PrecisionOption = Annotated[
    Literal["auto", "fp32", "bf16", "int8"],
    Option(
        help="Precision of matrix products. `auto`: fp32, except int8 for the vectors of `embed` "
        "where the model has a record of a harmless error and the processor has int8 "
        "instructions.",
        rich_help_panel=_COMPUTE,
    ),
]

SequenceColumnOption = Annotated[
    str | None,
    Option(
        help="Column of the sequences in a table. Default: `sequence`, or else the records of a "
        "FASTA file beside the table.",
        show_default=False,
    ),
]
MissingOption = Annotated[
    str,
    Option(
        help="Rows without a label or a sequence: `refuse` the table, naming them, or `drop` and "
        "count them."
    ),
]
ReplaceOption = Annotated[
    bool, Option("--replace", help="Replace a model of the same name in the cache.")
]
GenomesOption = Annotated[
    list[str] | None,
    Option("--genome", help=GENOME_HELP, autocompletion=complete_genomes, rich_help_panel=_GENOMES),
]
TaxonOption = Annotated[str | None, Option(help=TAXON_HELP, rich_help_panel=_GENOMES)]
LockOption = Annotated[Path | None, Option(help=LOCK_HELP, rich_help_panel=_GENOMES)]
AllGenomesOption = Annotated[
    bool, Option("--all", help="Every genome in the cache.", rich_help_panel=_GENOMES)
]

PresetOption = Annotated[
    str,
    Option(
        help="Configuration to start from; see `pretrain --list-presets`.",
        autocompletion=complete_presets,
    ),
]
ContextOption = Annotated[
    str | None,
    Option(
        help="Tokens per training window; a step keeps its number of tokens unless `--batch-size` "
        "is given. `256:4096` starts with windows of 256 and doubles them.",
        rich_help_panel=_MODEL,
    ),
]
ObjectiveOption = Annotated[
    str | None,
    Option(
        help="`masked`: predict hidden bases from both sides; `causal`: each base from the bases "
        "before it; `surrounding`: each from all others, with two opposite stacks.",
        rich_help_panel=_MODEL,
    ),
]
BatchSizeOption = Annotated[
    int | None,
    Option(
        help="Windows per batch; one step, unless `training.tokens_per_step` is larger.",
        rich_help_panel=_TRAINING,
    ),
]
LearningRateOption = Annotated[
    float | None,
    Option("--learning-rate", "--lr", help="Peak learning rate.", rich_help_panel=_TRAINING),
]
SeedOption = Annotated[int | None, Option(help=SEED_HELP, rich_help_panel=_TRAINING)]
# Places of the settings that options of `pretrain` and `compare` give.
TRAINING_PLACES = {
    "attention": "model.attention.name",
    "steps": "training.steps",
    "batch_size": "training.batch_size",
    "learning_rate": "training.learning_rate",
    "seed": "training.seed",
    "memory": "memory.plan",
    "gpus": "parallel.gpus",
    "teacher": "teacher.model",
}


def training_settings(context: Context) -> dict[str, Any]:
    """Collect the settings that options of `pretrain` or `compare` give, nested.

    Raises:
        UsageError: An invalid context or objective.
    """
    from genomeformer_cli.core.configuration import merge_values

    places = {name: place for name, place in TRAINING_PLACES.items() if name in context.params}
    settings = given_settings(context, places)
    if context.params["context"] is not None:
        settings = merge_values(settings, parse_context(context.params["context"]))
    if context.params["objective"] is not None:
        settings = merge_values(settings, parse_objective(context.params["objective"]))
    return settings


def parse_objective(name: str) -> dict[str, Any]:
    """Return the settings of an objective: the direction of the model.

    Raises:
        UsageError: The objective is unknown.
    """
    from genomeformer_cli.core.objectives.registry import OBJECTIVES
    from genomeformer_cli.core.proposals import look_up

    objective = look_up(OBJECTIVES, name, "objective", error=UsageError)
    return {"model": {"direction": objective.direction}}


def parse_context(text: str) -> dict[str, Any]:
    """Return the settings of a context: `4096`, or `256:4096` for windows that grow.

    Raises:
        UsageError: The text is neither.
    """
    match = re.fullmatch(r"(?:(\d{1,18}):)?(\d{1,18})", text, re.ASCII)
    if match is None:
        raise UsageError(
            f"invalid context `{text}`", hint="such as `4096`, or `256:4096` for windows that grow"
        )
    first, last = match.groups()
    settings: dict[str, Any] = {"model": {"context": int(last)}}
    if first is not None:
        settings["training"] = {"start_length": int(first)}
    return settings


def given_settings(context: Context, places: Mapping[str, str]) -> dict[str, Any]:
    """Collect the settings that options of the command line give, nested as in a TOML file.

    Args:
        context: Context of the command.
        places: Place of the setting, by parameter name; parameters with defaults that the user
            did not give are left out, so that a `--config` file keeps its values.
    """
    from genomeformer_cli.core.configuration import unflatten

    values = {
        place: context.params[name]
        for name, place in places.items()
        if is_given(context, name) and context.params[name] is not None
    }
    return unflatten(values)


def show_settings(config: Any, *, as_json: bool) -> None:
    """Print every setting of a configuration on stdout, as documented TOML or as JSON."""
    from genomeformer_cli.core.config_text import describe_config, render_toml
    from genomeformer_cli.render.console import show

    if as_json:
        show(describe_config(config), "", as_json=True)
    else:
        # Rich would wrap long lines, and the text could not be read as TOML again.
        sys.stdout.write(render_toml(config))


def resolved_config(context: Context, defaults: Config, options: Mapping[str, Any]) -> Config:
    """Resolve the defaults, `--config`, `--set` and nested settings of a command, in this order.

    With `--show-config`, print every setting and end the command.
    """
    from genomeformer_cli.core.config_text import combine_settings, resolve

    values = context.params
    overrides = combine_settings(type(defaults), values["settings"] or [], options)
    config = resolve(defaults, values["config"], overrides)
    if values["show_config"]:
        show_settings(config, as_json=values["as_json"])
        raise Exit
    return config


def is_given(context: Context, parameter: str) -> bool:
    """Return True if the user gave an option, False if it has its default."""
    source = context.get_parameter_source(parameter)
    return source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP")


def with_verbosity(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--quiet` and `--verbose` to a command."""

    @functools.wraps(command)
    def run(*arguments: Any, quiet: bool = False, verbose: bool = False, **options: Any) -> Any:
        set_verbosity(quiet=quiet, verbose=verbose)
        return command(*arguments, **options)

    signature = inspect.signature(command, eval_str=True)
    shared = {"quiet": QuietOption, "verbose": VerboseOption}
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[
            *signature.parameters.values(),
            *(
                inspect.Parameter(
                    name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation
                )
                for name, annotation in shared.items()
            ),
        ]
    )
    run.__annotations__ = {**typing.get_type_hints(command, include_extras=True), **shared}
    return run


def renamed_options() -> dict[tuple[str, str], str]:
    """Read the new forms of former options, by command and option."""
    from genomeformer_cli.core.documents import read_toml

    path = Path(__file__).parents[1] / "assets" / "renamed_options.toml"
    return {
        (command, option): new
        for command, options in read_toml(path).items()
        for option, new in options.items()
    }


def check_renamed(failure: Exception) -> Exception:
    """Return an error that names the new form of a former option; another failure as it is."""
    option, context = getattr(failure, "option_name", None), getattr(failure, "ctx", None)
    new = renamed_options().get((getattr(context, "info_name", None) or "", option or ""))
    if new is None:
        return failure
    return UsageError(f"`{option}` is now `{new}`", hint="`--show-config` lists every setting")
