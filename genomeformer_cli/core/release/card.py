"""The model card: a README with Hub metadata; its text is `assets/templates/model_card.md.j2`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import torch

from genomeformer_cli._version import __version__
from genomeformer_cli.core.attention.registry import attention_entry
from genomeformer_cli.core.data.masking import MaskingConfig
from genomeformer_cli.core.data.mixture import SamplingConfig
from genomeformer_cli.core.embedding.features import features_width
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.embedding.pooling import num_parts
from genomeformer_cli.core.embedding.pools import Pool
from genomeformer_cli.core.evaluation.tables import evaluation_tables
from genomeformer_cli.core.model_io.bundle_layout import PICTURES
from genomeformer_cli.core.model_io.embedding_rule import LAST_LAYER, Recommended
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.objectives.distillation import TeacherConfig
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.release.card_data import (
    CardGenome,
    count_phyla,
    genome_table,
    num_trained_on,
    organism_tables,
)
from genomeformer_cli.core.release.eval_report import Evidence, Picture
from genomeformer_cli.core.release.storage import MOST_LOST, Storage, StorageCost
from genomeformer_cli.core.templates import render_template
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.metrics import Score
from genomeformer_cli.core.training.summary import RunSummary

_RESULTS = "## Held-out results"


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """Values of a model card."""

    name: str  # Name of the released model.
    licence: str  # SPDX id.
    # Resolved configuration of the run: model, masking, training.
    configs: tuple[ModelConfig, MaskingConfig, TrainingConfig]
    sampling: SamplingConfig = field(default_factory=SamplingConfig)  # Sampling of the windows.
    teacher: TeacherConfig = field(default_factory=TeacherConfig)  # Distillation.
    summary: RunSummary  # Result of the run, for the released weights in full precision.
    weights: str  # Description of the weights.
    storage: Storage = field(default_factory=Storage)  # Precision of the stored weights.
    cost: StorageCost | None = None  # Cost of storage in reduced precision; None for exact storage.
    genomes: tuple[CardGenome, ...] = ()  # Genomes of the corpus.
    tokenizer: str = "char"  # Kind of tokenizer, with its settings.
    evidence: tuple[Evidence, ...] = ()  # Results of `evaluate`.
    loss: Picture | None = None  # Picture of the run, if it was drawn.
    onnx: bool = False  # True if the bundle has an ONNX file.
    recommended: Recommended = LAST_LAYER  # Defaults of `embed`.
    stock_class: str = ""  # Class of transformers that opens the bundle, if any.
    notes: str = ""  # Notes of the authors, Markdown.

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All pictures, in the order of the card."""
        loss = (self.loss,) if self.loss is not None else ()
        return (*loss, *(picture for report in self.evidence for picture in report.pictures))

    @property
    def score(self) -> Score:
        """Score of the stored weights if it covers all held-out bases, else of the exact ones."""
        if self.cost and self.cost.stored.num_bases == self.summary.model.num_bases:
            return self.cost.stored
        return self.summary.model


def write_card(facts: CardFacts) -> str:
    """Return the text of the card."""
    model, masking, training = facts.configs
    return render_template(
        "model_card.md",
        facts=facts,
        model=model,
        objective=objective_for(model.direction),
        masking=masking,
        training=training,
        sampling=facts.sampling,
        teacher=facts.teacher,
        summary=facts.summary,
        score=facts.score,
        width=_features_width(facts),
        mechanisms=[(name, attention_entry(name).paper) for name in model.attention.names],
        evaluations=[_evaluation(report) for report in facts.evidence],
        num_trained=num_trained_on(facts.genomes),
        genome_table=genome_table(facts.genomes),
        phyla=count_phyla(facts.genomes),
        organism_tables=organism_tables(facts.genomes),
        max_loss=MOST_LOST,
        picture_folder=PICTURES,
        results_heading=_RESULTS,
        auto_class=_auto_class(facts.stock_class),
        version=__version__,
    )


def _auto_class(stock_class: str) -> str:
    """Return the automatic class of transformers for a stock class."""
    return f"AutoModelFor{stock_class.rpartition('For')[2]}" if stock_class else ""


def _features_width(facts: CardFacts) -> int:
    model = facts.configs[0]
    with torch.device("meta"):
        rule = facts.recommended.of_sequences
        layers = EmbedOptions(layers=rule.layers).layer_numbers(model.depth)
        features = features_width(build_model(model), layers, mean=rule.layers == "mean")
        return features * num_parts(cast(Pool, rule.pool))


def _evaluation(report: Evidence) -> dict[str, object]:
    return {
        "counted_on": report.results.get("counted_on"),
        "before_storing": report.before_storing,
        "tables": evaluation_tables(report.results),
        "pictures": report.pictures,
    }


def add_onnx_note(card: str) -> str:
    """Return a card that describes the ONNX file, unchanged if it already does."""
    note = render_template("onnx_note.md")
    if note in card:
        return card
    usage, heading, results = card.partition(_RESULTS)
    if not heading:
        return f"{card.rstrip()}\n{note}"
    return f"{usage.rstrip()}\n{note}\n{heading}{results}"
