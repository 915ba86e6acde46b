"""Motifs of a fine-tuned model, beside those of its random twin, matched to known motifs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.evaluation.held_out_scores import random_twins
from genomeformer_cli.core.explanation.attribution import Method, attribute_all
from genomeformer_cli.core.explanation.motifs import (
    Match,
    Motif,
    MotifOptions,
    find_motifs,
    match_motif,
)
from genomeformer_cli.core.finetuning.head import attach_head
from genomeformer_cli.core.formats.meme import MemeMotif, meme_text, read_meme
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.atomic import write_text
from genomeformer_cli.core.workflows.explain_attribution import (
    AttributedRecord,
    Explainer,
    TaskExplainer,
)

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


def find_beside_twin(
    explainer: Explainer,
    records: Sequence[AttributedRecord],
    method: Method,
    references: Sequence[Motif],
    reporter: Reporter,
) -> list[FoundMotif]:
    """Return the motifs of a fine-tuned model, then those of the model with random weights.

    Raises:
        UsageError: The model was not fine-tuned.
    """
    options = MotifOptions()
    twins = twin_records(check_fine_tuned(explainer), records, method, reporter)
    rows = motifs_of(records, MODEL, options, references) + motifs_of(
        twins, TWIN, options, references
    )
    counts = {name: sum(row.source == name for row in rows) for name in (MODEL, TWIN)}
    reporter.note(", ".join(f"{name}: {count} motifs" for name, count in counts.items()))
    if not counts[MODEL]:
        reporter.warn(
            f"no motif has {options.min_seqlets} seqlets in {len(records):,} sequences: give more "
            "sequences"
        )
    return rows


def twin_records(
    explainer: TaskExplainer,
    records: Sequence[AttributedRecord],
    method: Method,
    reporter: Reporter,
) -> list[AttributedRecord]:
    """Return the records with the attributions of the model with random weights and head."""
    (twin,) = random_twins(explainer.loaded, _SEED, 1).values()
    attach_head(twin, explainer.task.build_head(twin, seed=_SEED).to(twin.device))
    answer = explainer.answer_with(twin)
    sequences = [record.codes for record in records if record.attribution is not None]
    num_bases = sum(codes.size for codes in sequences)
    with reporter.track("attributing, random twin", num_bases, "bases") as tracker:
        results = iter(attribute_all([answer] * len(sequences), sequences, method, tracker.advance))
    return [
        replace(record, attribution=None if record.attribution is None else next(results))
        for record in records
    ]


def motifs_of(
    records: Sequence[AttributedRecord],
    source: str,
    options: MotifOptions,
    references: Sequence[Motif],
) -> list[FoundMotif]:
    """Return the motifs of attributions, those with the most seqlets first."""
    used = [record for record in records if record.attribution is not None]
    motifs = find_motifs(
        [record.codes for record in used],
        [record.attribution.base_L for record in used if record.attribution is not None],
        options,
    )
    return [
        FoundMotif(source=source, motif=motif, match=match_motif(motif, references))
        for motif in motifs
    ]


def write_meme(rows: Sequence[FoundMotif], path: Path) -> None:
    """Write the motifs of the model as a MEME file.

    Raises:
        StoreError: The file cannot be written.
    """
    motifs = [
        MemeMotif(
            name=f"{row.motif.name} {row.motif.consensus}",
            frequencies_WR=row.motif.frequencies_WR,
            num_sites=row.motif.num_seqlets,
        )
        for row in rows
        if row.source == MODEL
    ]
    write_text(path, meme_text(motifs))
