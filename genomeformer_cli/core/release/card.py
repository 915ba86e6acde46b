"""The model card: a README with Hub metadata whose every number comes from the run."""

from __future__ import annotations

from collections.abc import Sequence

from genomeformer_cli import __version__
from genomeformer_cli.core.attention.registry import attention_entry
from genomeformer_cli.core.data.masking import MaskingConfig
from genomeformer_cli.core.genomes.genome import Genome
from genomeformer_cli.core.model.config import ModelConfig
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.metrics import Score
from genomeformer_cli.core.training.summary import RunSummary


def write_card(
    name: str,
    configs: tuple[ModelConfig, MaskingConfig, TrainingConfig],
    *,
    summary: RunSummary,
    genomes: Sequence[Genome],
    tokenizer: str,
) -> str:
    """The card's text.

    Args:
        name: Of the released model.
        configs: The run's resolved configuration: model, masking, training.
        summary: The run's result.
        genomes: What it was trained and validated on.
        tokenizer: Kind of tokenizer.
    """
    model, masking, training = configs
    sections = [
        _metadata(name, model),
        _opening(name, model, summary),
        _usage(name),
        _results(summary),
        _data(summary, genomes, tokenizer),
        _procedure(model, masking, training, summary),
        _limits(model, summary),
    ]
    return "\n".join(sections)


def _metadata(name: str, model: ModelConfig) -> str:
    return f"""---
license: apache-2.0
library_name: genomeformer
pipeline_tag: fill-mask
language: dna
tags:
- biology
- DNA
- genomics
- {model.attention.name}
model_name: {name}
---
"""


def _opening(name: str, model: ModelConfig, summary: RunSummary) -> str:
    attention = (
        f"`{model.attention.name}` attention ({attention_entry(model.attention.name).paper})"
    )
    return f"""# {name}

A DNA encoder of {summary.num_parameters:,} parameters with {attention},
trained to predict hidden bases from {model.context:,} bases of context.
It turns a sequence into a vector of {model.width} numbers.
Released with genomeformer {__version__}.
"""


def _usage(name: str) -> str:
    return f"""## Use

    pip install genomeformer
    genomeformer embed sequences.fa --model {name} > vectors.npy

`--model` also takes this folder. A vector is the mean of the final features over the real bases
of a sequence; longer sequences are cut into windows of the training context and averaged.
"""


def _row(what: str, score: Score) -> str:
    return f"| {what} | {score.bits_per_base:.4f} | {score.accuracy:.1%} | {score.num_bases:,} |"


def _results(summary: RunSummary) -> str:
    gain = summary.counts.bits_per_base - summary.model.bits_per_base
    side = "better" if gain > 0 else "worse"
    table = "\n".join(
        [
            _row("this model", summary.model),
            _row(f"context {summary.counts_name}", summary.counts),
            _row("the same model, random weights", summary.random_twin),
        ]
    )
    what = "base" if summary.model.num_tokens is None else "token"
    return f"""## Held-out results

One {what} in 64 hidden at a time; all three answer the same questions.

| | bits per base | accuracy | bases |
|---|---|---|---|
{table}

The model is {abs(gain):.4f} bits per base {side} than the table of counts.
"""


def _data(summary: RunSummary, genomes: Sequence[Genome], tokenizer: str) -> str:
    rows = "\n".join(
        f"| {genome.accession or genome.name} | {genome.organism or 'not stated'} "
        f"| {genome.taxid or ''} | {genome.num_bases:,} "
        f"| {genome.licence or 'not stated'} | {genome.source} |"
        for genome in genomes
    )
    return f"""## Data

| accession | organism | taxid | bases | licence | source |
|---|---|---|---|---|---|
{rows}

Held out: {summary.split_rule}.
Tokenizer: `{tokenizer}`; lower case is the same base, U is T, every other IUPAC code is N, and N is
never predicted.
"""


def _procedure(
    model: ModelConfig, masking: MaskingConfig, training: TrainingConfig, summary: RunSummary
) -> str:
    environment = ", ".join(f"{key} {value}" for key, value in summary.environment.items())
    optimizer = "AdamW" if training.optimizer == "adamw" else "Muon and AdamW"
    tokens = f"{training.batch_size} windows"
    if training.tokens_per_step:
        tokens = f"{training.tokens_per_step:,} tokens"
    strands = "either strand at random" if training.reverse_complement else "the forward strand"
    return f"""## Procedure

- architecture: {model.depth} blocks, width {model.width}, {model.num_heads} heads,
  gated MLP {model.mlp_width}, rotary positions
- masking: {masking.rate:.0%} of the real bases are targets; of these {masking.mask_share:.0%} are
  masked and {masking.random_share:.0%} replaced by a random base;
  the loss at soft-masked bases weighs {masking.soft_mask_weight:g}
- steps: {training.steps:,} of {tokens}, {summary.num_bases_seen:,} bases seen
  of {summary.num_train_bases:,} in the training split
- optimizer: {optimizer}, peak learning rate {training.learning_rate:g},
  `{training.schedule}` schedule
- strands: each window is read from {strands}; seed {training.seed}
- compute: {summary.training_seconds:,.0f} seconds on {environment}

The whole configuration is in `train_config.toml`. To train it again:

    genomeformer tokenize --genome ACCESSION ... --name CORPUS
    genomeformer pretrain --corpus CORPUS --name AGAIN --config train_config.toml
"""


def _limits(model: ModelConfig, summary: RunSummary) -> str:
    weaker = summary.model.bits_per_base >= summary.counts.bits_per_base
    verdict = "A table of counts predicts held-out bases better: treat it as a demonstration.\n"
    return f"""## Limits

{verdict if weaker else ""}It has seen only the organisms above, and never more than
{model.context:,} bases at once. It is a tool for research on sequences; it knows nothing of
function beyond what predicts the next hidden base, and no output of it is medical advice.
"""
