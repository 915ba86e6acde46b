"""Motifs of a fine-tuned model, beside those of its random twin, matched to known motifs."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.evaluation.held_out_scores import random_twins
from genomeformer_cli.core.explanation.attribution import Method
from genomeformer_cli.core.explanation.motifs import (
    Match,
    Motif,
    MotifFinder,
    MotifOptions,
    match_motif,
)
from genomeformer_cli.core.finetuning.head import attach_head
from genomeformer_cli.core.formats.meme import MemeMotif, meme_text, read_meme
from genomeformer_cli.core.proposals import count_noun
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.atomic import write_text
from genomeformer_cli.core.workflows.explain_attribution import (
    AttributedRecord,
    Explainer,
    TaskExplainer,
    attribute_records,
    attributed_queries,
)
from genomeformer_cli.core.workflows.sources import Look

MODEL, TWIN = "model", "random twin"
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class FoundMotif:
    """Motif of a model or its twin, and the most similar known motif."""

    source: str  # `model` or `random twin`.
    motif: Motif
    match: Match | None = None  # None without known motifs.


def read_known(path: Path | None) -> list[Motif]:
    """Read the known motifs of a MEME file; none without one.

    Raises:
        InputError: The file is invalid.
    """
    if path is None:
        return []
    return [
        Motif(name=motif.name, frequencies_WR=motif.frequencies_WR, num_seqlets=motif.num_sites)
        for motif in read_meme(path)
    ]


def check_fine_tuned(explainer: Explainer) -> TaskExplainer:
    """Return the explainer of a fine-tuned model.

    Raises:
        UsageError: The model was not fine-tuned.
    """
    if not isinstance(explainer, TaskExplainer):
        raise UsageError(
            "`--motifs` needs a fine-tuned model", hint="`genomeformer finetune` trains one"
        )
    return explainer


@dataclass(frozen=True)
class MotifSearch:
    """Motifs that are searched for."""

    explainer: TaskExplainer
    method: Method  # Method of attribution.
    references: Sequence[Motif]  # Known motifs.


def find_beside_twin(
    search: MotifSearch, look: Look, reporter: Reporter, noun: str = "record"
) -> Iterator[FoundMotif]:
    """Yield the motifs of a fine-tuned model, then those of the model with random weights.

    The sequences are read once per model; of their attributions, only windows are kept.
    """
    options = MotifOptions()
    finders = {MODEL: MotifFinder(options), TWIN: MotifFinder(options)}
    explainer, method = search.explainer, search.method
    for record in attribute_records(explainer, look, method, reporter, noun):
        _add(finders[MODEL], record)
    twin = _twin(explainer)
    with reporter.track(f"attributing, {TWIN}", look.num_bases, "bases") as tracker:
        for _, record in attributed_queries(twin, look, method, tracker.advance):
            _add(finders[TWIN], record)
    motifs_of = {source: finder.motifs() for source, finder in finders.items()}
    counts = (
        f"{source}: {count_noun(len(motifs), 'motif')}" for source, motifs in motifs_of.items()
    )
    reporter.note(", ".join(counts))
    if not motifs_of[MODEL]:
        reporter.warn(
            f"the model has no motif of {options.min_seqlets} seqlets or more in "
            f"{count_noun(look.num_records, noun)}: give more sequences"
        )
    for source, motifs in motifs_of.items():
        for motif in motifs:
            match = match_motif(motif, search.references)
            yield FoundMotif(source=source, motif=motif, match=match)


def _add(finder: MotifFinder, record: AttributedRecord) -> None:
    if record.attribution is not None:
        finder.add(record.codes, record.attribution.effect_LR)


def _twin(explainer: TaskExplainer) -> TaskExplainer:
    """Return the model with random weights and a random head."""
    (model,) = random_twins(explainer.loaded, _SEED, 1).values()
    attach_head(model, explainer.task.build_head(model, seed=_SEED).to(model.device))
    answer = explainer.answer_with(model)
    return replace(explainer, answer_of=lambda identifier, codes: answer)


def write_meme(rows: Iterable[FoundMotif], path: Path) -> Generator[FoundMotif, None, bool]:
    """Write the motifs of the model as a MEME file while passing all on.

    Returns False if the model has no motif: nothing is written.

    Raises:
        StoreError: The file cannot be written.
    """
    motifs = []
    for row in rows:
        if row.source == MODEL:
            motifs.append(
                MemeMotif(
                    name=f"{row.motif.name} {row.motif.consensus}",
                    frequencies_WR=row.motif.frequencies_WR,
                    num_sites=row.motif.num_seqlets,
                )
            )
        yield row
    if motifs:
        write_text(path, meme_text(motifs))
    return bool(motifs)
