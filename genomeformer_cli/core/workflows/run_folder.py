"""What a run is: one resolved configuration, saved beside what it is trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tomli_w

from genomeformer_cli._version import __version__
from genomeformer_cli.core import documents
from genomeformer_cli.core.configuration import differences, overlay, to_plain
from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.documents import DocumentError, read_json
from genomeformer_cli.core.errors import ConfigError, CorruptError
from genomeformer_cli.core.store.atomic import write_json, write_text
from genomeformer_cli.core.store.layout import RUN_IDENTITY_FILE
from genomeformer_cli.core.tokenizers.protocol import Tokenizer
from genomeformer_cli.core.training.presets import PretrainConfig, preset

if TYPE_CHECKING:
    from genomeformer_cli.core.models.genomeformer.config import ModelConfig

RUN_CONFIG_FILE = "config.toml"
BASELINE_FILE = "baseline.json"


def resolve_config(
    preset_name: str,
    config_file: Path | None,
    overrides: Mapping[str, Any],
    tokenizer: Tokenizer,
    origin: ModelConfig | None = None,
) -> PretrainConfig:
    """Preset, then the model to start from, TOML, flags, what follows from them and the corpus.

    A context of one's own keeps the tokens of a step unless a batch size is given too; plans that
    are architectures (`two-stack`, `reversible`) make the model one.

    Raises:
        ConfigError: An unknown preset or setting, a wrong type, an unreadable TOML.
    """
    config = preset(preset_name)
    given: list[tuple[str, Mapping[str, Any]]] = []
    if origin is not None:
        given.append(("the model to start from", {"model": to_plain(origin)}))
    if config_file is not None:
        given.append((str(config_file), read_toml(config_file)))
    for where, values in [*given, ("command line", overrides)]:
        config = overlay(_same_tokens(config, values), values, where=where)
    model: dict[str, Any] = {"vocabulary_size": len(tokenizer.tokens)}
    if config.memory.plan == "two-stack":
        model["direction"] = "two-stack"
    if config.memory.plan == "reversible":
        model["residual"] = "reversible"
    direction = model.get("direction", config.model.direction)
    if direction == "two-stack" or config.model.strands == "both":
        model["complement"] = _complement(tokenizer)
    return overlay(config, {"model": model}, where="corpus")


def _same_tokens(config: PretrainConfig, values: Mapping[str, Any]) -> PretrainConfig:
    """Batches of as many tokens in the context that is asked for."""
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
    return [int(tokenizer.reverse_complement(ids[one : one + 1])[0]) for one in ids]


def read_toml(path: Path) -> dict[str, Any]:
    """Values of a TOML file.

    Raises:
        ConfigError: It is missing or no TOML.
    """
    try:
        return documents.read_toml(path)
    except DocumentError as failure:
        raise ConfigError(
            failure.message.replace("cannot be read:", "cannot be read as TOML:"),
            hint="see a run's `config.toml`",
        ) from failure


def open_run(
    folder: Path, config: PretrainConfig, corpus: Corpus, origin_sha256: str | None = None
) -> None:
    """Begin a run folder, or make sure that one was begun with the same settings.

    Args:
        folder: Of the run.
        config: Its settings.
        corpus: What it is trained on.
        origin_sha256: Checksum of the weights it starts from; None: random ones.

    Raises:
        ConfigError: It was begun with others; they are named.
        CorruptError: Its records are damaged.
    """
    plain = to_plain(config)
    identity = {
        "corpus": corpus.manifest.name,
        "corpus_inputs_sha256": corpus.manifest.inputs_sha256,
        "vocabulary_sha256": corpus.manifest.vocabulary_sha256,
    }
    if origin_sha256 is not None:
        identity["origin_sha256"] = origin_sha256
    if not (folder / RUN_CONFIG_FILE).exists():
        write_json(folder / RUN_IDENTITY_FILE, {**identity, "genomeformer": __version__})
        write_text(folder / RUN_CONFIG_FILE, tomli_w.dumps(plain))
        return
    before = {**read_toml(folder / RUN_CONFIG_FILE), **_identity(folder)}
    changed = differences(before, {**plain, **identity, "genomeformer": before.get("genomeformer")})
    if changed:
        raise ConfigError(
            f"the run `{folder.name}` was started with other settings: " + "; ".join(changed),
            hint="give the same settings to go on with it, or another `--name` to start a new run",
        )


def _identity(folder: Path) -> dict[str, Any]:
    try:
        identity: dict[str, Any] = read_json(folder / RUN_IDENTITY_FILE)
    except DocumentError as failure:
        raise CorruptError(
            f"`{folder / RUN_IDENTITY_FILE}` is damaged", hint="remove the run and train again"
        ) from failure
    return identity
