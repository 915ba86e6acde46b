"""The model card: a README with Hub metadata whose every number comes from the run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from genomeformer_cli._version import __version__
from genomeformer_cli.core.attention.registry import attention_entry
from genomeformer_cli.core.data.masking import MaskingConfig
from genomeformer_cli.core.embedding.choices import EmbedChoices
from genomeformer_cli.core.embedding.features import features_width
from genomeformer_cli.core.model_io.bundle_layout import PICTURES
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.release.card_data import CardGenome, data_section
from genomeformer_cli.core.release.card_evidence import evidence_sections
from genomeformer_cli.core.release.eval_report import Evidence, Picture
from genomeformer_cli.core.release.storage import MOST_LOST, Storage, StorageCost
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.metrics import Score
from genomeformer_cli.core.training.summary import RunSummary

_DIRECTIONS = {
    "bidirectional": "every position sees both sides",
    "causal": "every position sees itself and what is before it",
    "two-stack": "every position sees all others, but not itself",
}
_GOALS = {
    "bidirectional": "hidden bases",
    "causal": "the next base from those before it",
    "two-stack": "each base from all the others",
}
_RESULTS = "## Held-out results"
_ONNX = """
`model.onnx` is the same model for ONNX runtimes: `input_ids` in, `logits` and `features` out;
shorter rows end in [PAD].
"""


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """Everything that a card says.

    Attributes:
        name: Of the released model.
        licence: SPDX id.
        configs: The run's resolved configuration: model, masking, training.
        summary: The run's result, of the weights that are released, as they were trained.
        weights: Which these are, in words.
        storage: How they are stored.
        cost: What that costs; None if nothing is lost.
        genomes: What it was trained and validated on.
        tokenizer: Kind of tokenizer, with its settings.
        evidence: What `evaluate` found.
        loss: The picture of the run, if there is one.
        onnx: Whether there is an ONNX file.
        layers: Whose features `embed` takes by itself.
        notes: Of the authors, Markdown.
    """

    name: str
    licence: str
    configs: tuple[ModelConfig, MaskingConfig, TrainingConfig]
    summary: RunSummary
    weights: str
    storage: Storage = field(default_factory=Storage)
    cost: StorageCost | None = None
    genomes: tuple[CardGenome, ...] = ()
    tokenizer: str = "char"
    evidence: tuple[Evidence, ...] = ()
    loss: Picture | None = None
    onnx: bool = False
    layers: str = "last"
    notes: str = ""

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All of them, in the order of the card."""
        first = (self.loss,) if self.loss is not None else ()
        return (*first, *(picture for one in self.evidence for picture in one.pictures))

    @property
    def score(self) -> Score:
        """Of the released weights; as they are stored, if all questions were put to those."""
        all_asked = self.cost and self.cost.stored.num_bases == self.summary.model.num_bases
        return self.cost.stored if self.cost and all_asked else self.summary.model


def write_card(facts: CardFacts) -> str:
    """The card's text."""
    sections = [
        _metadata(facts),
        _opening(facts),
        _usage(facts),
        _results(facts),
        *evidence_sections(facts.evidence),
        data_section(facts.genomes, facts.summary.split_rule, facts.tokenizer),
        _procedure(facts),
        _limits(facts),
        _biosafety(),
        *([f"## Notes of the authors\n\n{facts.notes.strip()}\n"] if facts.notes.strip() else []),
    ]
    return "\n".join(sections)


def _metadata(facts: CardFacts) -> str:
    """The head that the Hub reads; strings as JSON, which is YAML too."""
    score = facts.score
    metrics = [("bits_per_base", score.bits_per_base), ("accuracy", score.accuracy)]
    named = "\n".join(
        f"    - type: {kind}\n      value: {value:.6g}\n      name: held-out {kind}"
        for kind, value in metrics
    )
    tags = ["biology", "DNA", "genomics", *facts.configs[0].attention.names]
    return f"""---
license: {json.dumps(facts.licence)}
library_name: genomeformer
pipeline_tag: feature-extraction
tags:
{chr(10).join(f"- {tag}" for tag in tags)}
model_name: {json.dumps(facts.name)}
model-index:
- name: {json.dumps(facts.name)}
  results:
  - task:
      type: fill-mask
      name: prediction of held-out bases
    dataset:
      type: {json.dumps(facts.summary.corpus)}
      name: {json.dumps(facts.summary.split_rule, ensure_ascii=False)}
    metrics:
{named}
---
"""


def _opening(facts: CardFacts) -> str:
    model = facts.configs[0]
    papers = "; ".join(
        f"`{name}` attention ({attention_entry(name).paper})" for name in model.attention.names
    )
    goal = _GOALS[model.direction]
    with torch.device("meta"):
        numbers = EmbedChoices(layers=facts.layers).numbers(model.depth)
        mean = facts.layers == "mean"
        width = features_width(build_model(model), numbers, mean=mean)
    return f"""# {facts.name}

A DNA encoder of {facts.summary.num_parameters:,} parameters with {papers},
trained to predict {goal}, with {model.context:,} tokens of context.
It turns a sequence into a vector of {width} numbers.
Released with genomeformer {__version__}: {facts.weights}, stored as {facts.storage.name}.
"""


def with_onnx(card: str) -> str:
    """A card that says of the ONNX file too, if it does not yet."""
    if _ONNX in card:
        return card
    use, results, rest = card.partition(_RESULTS)
    return f"{use.rstrip()}\n{_ONNX}\n{results}{rest}" if results else f"{card.rstrip()}\n{_ONNX}"


def _usage(facts: CardFacts) -> str:
    onnx = _ONNX if facts.onnx else ""
    strands = _other_strand(facts.configs[0])
    return f"""## Use

    pip install genomeformer
    genomeformer embed sequences.fa --model {facts.name} > vectors.npy

`--model` takes the name in the cache, this folder, its archive, or `hf://ORG/NAME@REVISION`. In
Python: `genomeformer_cli.load("FOLDER").embed(["ACGT..."])`.

Recommended: {_layers(facts)} and the mean over the real bases (`--pool mean`),
the defaults, with which every vector on this page was made.
Sequences longer than the context are cut into windows and averaged. {strands}
{onnx}"""


def _layers(facts: CardFacts) -> str:
    if facts.layers == "last":
        return "the last layer (`--layers last`; no other was compared)"
    return f"layer {facts.layers} of {facts.configs[0].depth} (`--layers {facts.layers}`)"


def _other_strand(model: ModelConfig) -> str:
    if (model.direction == "two-stack" and model.tied) or model.strands == "both":
        return "It reads both\nstrands: the other one gives the same numbers, halves swapped."
    return "It reads one\nstrand; `--rc mean` averages both."


def _asked(facts: CardFacts) -> str:
    what = "base" if facts.score.num_tokens is None else "token"
    if facts.configs[0].direction == "bidirectional":
        return f"One {what} in 64 hidden at a time"
    seen = "those before it" if facts.configs[0].direction == "causal" else "all the others"
    return f"One {what} in 64, each from {seen}"


def _row(what: str, score: Score) -> str:
    return f"| {what} | {score.bits_per_base:.4f} | {score.accuracy:.1%} | {score.num_bases:,} |"


def _results(facts: CardFacts) -> str:
    summary, score = facts.summary, facts.score
    gain = summary.counts.bits_per_base - score.bits_per_base
    side = "better" if gain > 0 else "worse"
    rows = [
        _row("this model", score),
        _row(f"context {summary.counts_name}", summary.counts),
        _row("the same model, random weights", summary.random_twin),
    ]
    picture = f"![{facts.loss.shows}]({PICTURES}/{facts.loss.name})\n" if facts.loss else ""
    return f"""{_RESULTS}

{_asked(facts)}; all three answer the same questions.

| | bits per base | accuracy | bases |
|---|---|---|---|
{chr(10).join(rows)}

The model is {abs(gain):.4f} bits per base {side} than the table of counts.
{_stored(facts)}{picture}"""


def _stored(facts: CardFacts) -> str:
    if facts.cost is None:
        return ""
    cost = facts.cost
    return f"""
Storing the weights as {facts.storage.name} moved the bits of a question by
{cost.mean_change:.5f} in the mean: {cost.exact.bits_per_base:.5f} bits per base and
{cost.exact.accuracy:.2%} before, {cost.stored.bits_per_base:.5f} and {cost.stored.accuracy:.2%}
as stored, on {cost.stored.num_bases:,} held-out bases. More than {MOST_LOST} bits per base lost
would not have been released.
"""


def _procedure(facts: CardFacts) -> str:
    model, masking, training = facts.configs
    summary = facts.summary
    lines = [
        f"architecture: {model.depth} blocks, width {model.width}, {model.num_heads} heads,\n"
        f"  gated MLP {model.mlp_width}, rotary positions"
        + (f", convolutions of {model.conv_width} before attention" if model.conv_width else "")
        + (f", {model.patch} tokens a position" if model.patch > 1 else ""),
        f"direction: {_DIRECTIONS[model.direction]}",
        f"context: {model.context:,} tokens",
        *_objective(model, masking),
        f"steps: {summary.num_steps:,} of {_step(training)}, {summary.num_bases_seen:,} bases "
        f"seen\n  of {summary.num_train_bases:,} in the training split",
        f"optimizer: {'AdamW' if training.optimizer == 'adamw' else 'Muon and AdamW'}, peak "
        f"learning rate {training.learning_rate:g},\n  `{training.schedule}` schedule",
        f"strands: {_strands(model, training)}; seed {training.seed}",
        f"compute: {summary.training_seconds:,.0f} seconds on "
        + ", ".join(f"{key} {value}" for key, value in summary.environment.items()),
    ]
    return (
        "## Procedure\n\n"
        + "\n".join(f"- {line}" for line in lines)
        + """

The whole configuration is in `train_config.toml`. To train it again:

    genomeformer tokenize --genome ACCESSION ... --name CORPUS
    genomeformer pretrain --corpus CORPUS --name AGAIN --config train_config.toml
"""
    )


def _objective(model: ModelConfig, masking: MaskingConfig) -> Iterator[str]:
    if model.direction == "bidirectional":
        spans = f", {masking.span} at a time" if masking.span > 1 else ""
        yield (
            f"masking: {masking.rate:.0%} of the real bases are targets{spans}; of these "
            f"{masking.mask_share:.0%} are\n  masked and {masking.random_share:.0%} replaced by a "
            "random base"
        )
    yield f"the loss at soft-masked bases weighs {masking.soft_mask_weight:g}"


def _step(training: TrainingConfig) -> str:
    if training.tokens_per_step:
        return f"{training.tokens_per_step:,} tokens"
    return f"{training.batch_size} windows"


def _strands(model: ModelConfig, training: TrainingConfig) -> str:
    if model.strands == "both":
        return "the model itself reads both, and its answer turns with the strand"
    if training.reverse_complement:
        return "each window is read from either strand at random"
    return "each window is read from the forward strand"


def _limits(facts: CardFacts) -> str:
    model, summary = facts.configs[0], facts.summary
    weaker = facts.score.bits_per_base >= summary.counts.bits_per_base
    verdict = "A table of counts predicts held-out bases better: treat it as a demonstration.\n"
    return f"""## Limits

{verdict if weaker else ""}It has seen only the organisms above, and never more than
{model.context:,} tokens at once; what it says of others is extrapolation. It is a tool for
research on sequences; it knows nothing of function beyond what predicts bases, its scores of
variants are no verdict on disease, and no output of it is medical advice.
"""


def _biosafety() -> str:
    return """## Biosafety

It reads and scores sequences; it was not trained to design them, and a model of this size and
kind gives no skill in making or changing an organism that public databases do not give. Screen
what you synthesise, follow the rules of your institution and your country, and do not use it to
look for sequences that do harm.
"""
