"""Configuration of a run: resolved from preset, file and command line; saved with the run."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tomli_w

from genomeformer_cli._version import __version__
from genomeformer_cli.core.config_text import read_config
from genomeformer_cli.core.configuration import merge_values, overlay, to_plain
from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.documents import DocumentError, read_json
from genomeformer_cli.core.errors import CorruptError
from genomeformer_cli.core.store.atomic import write_json, write_text
from genomeformer_cli.core.store.layout import RUN_IDENTITY_FILE
from genomeformer_cli.core.tokenizers.protocol import Tokenizer
from genomeformer_cli.core.training.loggers import WANDB_ID_FILE, LoggingConfig
from genomeformer_cli.core.training.metrics import METRICS_FILE, THROUGHPUT_FILE
from genomeformer_cli.core.training.parallel_config import ParallelConfig
from genomeformer_cli.core.training.presets import (
    EXECUTION_SECTIONS,
    PretrainConfig,
    PretrainSettings,
    preset,
)
from genomeformer_cli.core.training.summary import SUMMARY_FILE
from genomeformer_cli.core.workflows.records import changed_settings, refuse_changes

if TYPE_CHECKING:
    from genomeformer_cli.core.models.genomeformer.config import ModelConfig

RUN_CONFIG_FILE = "config.toml"
BASELINE_FILE = "baseline.json"
MEMORY_FILE = "memory.json"
COMPUTE_FILE = "compute.json"
PROCESSES_FILE = "processes.json"
# Records of a run before its first checkpoint. The configuration goes last but for its identity, so
# that an interruption leaves a folder that is cleared again or begun anew.
_FIRST_RECORDS = (
    *(MEMORY_FILE, COMPUTE_FILE, PROCESSES_FILE, BASELINE_FILE, METRICS_FILE, THROUGHPUT_FILE),
    *("tensorboard", "wandb", WANDB_ID_FILE, RUN_CONFIG_FILE, RUN_IDENTITY_FILE),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StartedProcesses:
    """Processes that a run was started with; they set the order in which gradients are added."""

    processes: int


def resolve_config(
    preset_name: str,
    config_file: Path | None,
    overrides: Mapping[str, Any],
    tokenizer: Tokenizer | None,
    origin: ModelConfig | None = None,
) -> PretrainConfig:
    """Resolve the configuration of a run.

    Settings replace each other in this order: preset, model to start from, TOML file, command line,
    corpus. A new context keeps the tokens per step unless a batch size is given too. Plans that
    are architectures (`two-stack`, `reversible`) set the architecture.

    Args:
        preset_name: Name of the preset.
        config_file: TOML file of settings.
        overrides: Settings that replace those of the file. Sections of the execution are passed
            over, here and in the file: `resolve_execution` reads them.
        tokenizer: Tokenizer of the corpus; None: the vocabulary of the preset.
        origin: Configuration of the model to start from.

    Raises:
        ConfigError: An unknown preset or setting, a wrong type, an unreadable TOML.
    """
    config = preset(preset_name)
    layers: list[tuple[str, Mapping[str, Any]]] = []
    if origin is not None:
        layers.append(("the model to start from", {"model": to_plain(origin)}))
    if config_file is not None:
        layers.append((str(config_file), read_config(config_file)))
    for where, values in [*layers, ("command line", overrides)]:
        settings = {key: value for key, value in values.items() if key not in EXECUTION_SECTIONS}
        config = overlay(_same_tokens(config, settings), settings, where=where)
    model: dict[str, Any] = {}
    if tokenizer is not None:
        model["vocabulary_size"] = len(tokenizer.tokens)
    if config.memory.plan == "two-stack":
        model["direction"] = "two-stack"
    if config.memory.plan == "reversible":
        model["residual"] = "reversible"
    direction = model.get("direction", config.model.direction)
    if tokenizer is not None and (direction == "two-stack" or config.model.strands == "both"):
        model["complement"] = _complement(tokenizer)
    return overlay(config, {"model": model}, where="corpus")


def resolve_execution(
    config_file: Path | None, overrides: Mapping[str, Any]
) -> tuple[ParallelConfig, LoggingConfig]:
    """Resolve the settings of the execution, which do not change the result of a run.

    Raises:
        ConfigError: An unknown setting, an invalid value, an unreadable TOML.
    """
    settings = PretrainSettings()
    layers = [("command line", overrides)]
    if config_file is not None:
        layers.insert(0, (str(config_file), read_config(config_file)))
    for where, values in layers:
        sections = {key: values[key] for key in EXECUTION_SECTIONS if key in values}
        settings = overlay(settings, sections, where=where)
    return settings.parallel, settings.logging


def resolve_settings(
    preset_name: str,
    config_file: Path | None,
    overrides: Mapping[str, Any],
    tokenizer: Tokenizer | None = None,
    origin: ModelConfig | None = None,
) -> PretrainSettings:
    """Resolve all settings of `pretrain`, those of the execution included.

    Raises:
        ConfigError: An unknown preset or setting, an invalid value, an unreadable TOML.
    """
    config = resolve_config(preset_name, config_file, overrides, tokenizer, origin)
    parallel, logging = resolve_execution(config_file, overrides)
    sections = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return PretrainSettings(**sections, parallel=parallel, logging=logging)


def _same_tokens(config: PretrainConfig, values: Mapping[str, Any]) -> PretrainConfig:
    """Scale the batch size so that a new context keeps the tokens per step."""
    model, training = values.get("model"), values.get("training", {})
    context = model.get("context") if isinstance(model, Mapping) else None
    if not isinstance(context, int) or context < 1 or not isinstance(training, Mapping):
        return config
    fewer = {
        key: max(getattr(config.training, key) * config.model.context // context, 1)
        for key in ("batch_size", "validation_windows")
        if key not in training
    }
    return dataclasses.replace(config, training=dataclasses.replace(config.training, **fewer))


def _complement(tokenizer: Tokenizer) -> list[int]:
    if not tokenizer.reads_both_strands:
        return []
    ids = np.arange(len(tokenizer.tokens), dtype=tokenizer.dtype)
    return [int(tokenizer.reverse_complement(ids[token : token + 1])[0]) for token in ids]


def open_run(
    folder: Path, config: PretrainConfig, corpus: Corpus, digests: Mapping[str, str]
) -> None:
    """Create a run folder, or check that the settings are those it was started with.

    Args:
        folder: Folder of the run.
        config: Configuration.
        corpus: Training corpus.
        digests: Checksums of what else the run depends on, such as the initial weights.

    Raises:
        ConfigError: The run has a checkpoint of other settings; they are named. Without a
            checkpoint, the run starts again with the new settings.
        CorruptError: The records of the run are damaged.
    """
    plain = to_plain(config)
    identity = {
        "corpus": corpus.manifest.name,
        "corpus_inputs_sha256": corpus.manifest.inputs_sha256,
        "vocabulary_sha256": corpus.manifest.vocabulary_sha256,
        **digests,
    }
    if not (folder / RUN_CONFIG_FILE).exists():
        write_json(folder / RUN_IDENTITY_FILE, {**identity, "genomeformer": __version__})
        write_text(folder / RUN_CONFIG_FILE, tomli_w.dumps(plain))
        return None
    # A run of an earlier version lacks the settings that came later, and had their defaults.
    recorded = merge_values(to_plain(PretrainConfig()), read_config(folder / RUN_CONFIG_FILE))
    before = {**recorded, **_identity(folder)}
    changes = changed_settings(before, {**plain, **identity})
    if changes and not _has_results(folder):
        _clear(folder)
        return open_run(folder, config, corpus, digests)
    return refuse_changes(f"run `{folder.name}`", changes, "a new run")


def _has_results(folder: Path) -> bool:
    from genomeformer_cli.core.model_io.rotation import list_checkpoints

    return bool(list_checkpoints(folder)) or (folder / SUMMARY_FILE).exists()


def _clear(folder: Path) -> None:
    """Remove the records of a run that stopped before its first checkpoint."""
    for name in _FIRST_RECORDS:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _identity(folder: Path) -> dict[str, Any]:
    try:
        identity: dict[str, Any] = read_json(folder / RUN_IDENTITY_FILE)
    except DocumentError as failure:
        raise CorruptError(
            f"`{folder / RUN_IDENTITY_FILE}` is damaged", hint="remove the run and train again"
        ) from failure
    return identity
