"""Tables of the evaluation on variants, from the values of `eval_results.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from genomeformer_cli.core.formats.labelled import RowCount
from genomeformer_cli.core.tables import Table

Plain = Mapping[str, Any]

MISSING = "-"
_NAMES = {"model": "this model", "random": "random weights"}


def interval_text(interval: Plain | None, digits: int = 4) -> str:
    """Return a mean with its interval, as far as they are known."""
    if interval is None or interval.get("value") is None:
        return MISSING
    mean = f"{interval['value']:.{digits}f}"
    if not has_bounds(interval):
        return mean
    return f"{mean} [{interval['low']:.{digits}f}, {interval['high']:.{digits}f}]"


def has_bounds(interval: Plain) -> bool:
    """Return True for an interval with both ends."""
    return interval["low"] is not None and interval["high"] is not None


def codon_table(effects: Plain) -> Table:
    """Return the ranking of the effects of substitutions in coding sequences."""
    rows = effects["rows"]
    return Table(
        title=f"Effects of substitutions in coding sequences: {effects['name']}",
        headings=("effects", "predictor", "AUROC of log-odds", "AUROC of this model - this"),
        rows=tuple(
            (
                f"{row['severe']} > {row['mild']}",
                _NAMES.get(row["predictor"], row["predictor"]),
                interval_text(row["auroc"], 3),
                interval_text(row.get("lead"), 3),
            )
            for row in rows
        ),
        notes=tuple(_codon_notes(effects)),
    )


def _codon_notes(effects: Plain) -> Iterator[str]:
    counts = ", ".join(f"{number:,} {name}" for name, number in effects["num_drawn"].items())
    codes = ", ".join(map(str, effects["genetic_codes"]))
    yield (
        f"{counts} substitutions of {effects['num_genes']:,} genes, genetic code {codes}; "
        "intervals by gene."
    )
    models = [row for row in effects["rows"] if row["predictor"] == "model"]
    ranked = [row for row in models if (row["auroc"]["low"] or 0) > 1 / 2]
    if len(ranked) == len(models):
        yield "Beyond chance, the model ranks stop gained > missense > synonymous."
        return
    names = [f"{row['severe']} > {row['mild']}" for row in models if row not in ranked]
    yield f"Beyond chance, the model does not rank: {'; '.join(names)}."


def chains_table(chains: Plain) -> Table:
    """Return the ranking of neighbouring genes without training; of the k-mers, the best k."""
    rows = chains["rows"]
    kmers = [row for row in rows if row["source"].endswith("-mers")]
    best = max(kmers, key=lambda row: row["auroc"]["value"] or 0.0)
    count = chains["count"]
    return Table(
        title=f"Operons without training, mean over genomes: {chains['name']}",
        headings=("cosine of", "AUROC", "AUPRC"),
        rows=tuple(
            (
                {**_NAMES, "strand": "same strand alone", "gap": "gap alone"}.get(
                    row["source"], row["source"]
                ),
                interval_text(row["auroc"], 3),
                interval_text(row["auprc"], 3),
            )
            for row in rows
            if row not in kmers or row == best
        ),
        notes=(
            f"{count['read']:,} pairs of neighbours read, {count['used']:,} used, "
            f"{chains['num_positive']:,} of one operon; {chains['num_genomes']:,} genomes. "
            "Pairs on different strands have score 0.",
        ),
    )


def variant_table(variants: Plain) -> Table:
    """Return the measures of all predictors on labelled variants."""
    has_numbers = any(row["spearman"] for row in variants["rows"])
    measures = ("Spearman",) if has_numbers else ("AUROC", "AUPRC", "AUPRC by group")
    return Table(
        title=f"Labelled variants: {variants['name']}",
        headings=("part", "source", "score", *measures, "positive", "variants"),
        rows=tuple(
            (
                row["part"],
                _NAMES.get(row["source"], row["source"]),
                row["score"],
                *_measures(row, has_numbers=has_numbers),
                MISSING if row["num_positive"] is None else f"{row['num_positive']:,}",
                f"{row['num_rows']:,}",
            )
            for row in variants["rows"]
        ),
        notes=tuple(_variant_notes(variants)),
    )


def _measures(row: Plain, *, has_numbers: bool) -> Iterator[str]:
    if has_numbers:
        yield interval_text(row["spearman"], 3)
        return
    yield interval_text(row["auroc"], 3)
    yield interval_text(row["auprc"], 3)
    mean = row["auprc_by_group"]
    yield MISSING if mean is None else f"{mean:.3f}"


def _variant_notes(variants: Plain) -> Iterator[str]:
    count = variants["count"]
    rows = RowCount(read=count["read"], used=count["used"], left_out=count["left_out"])
    yield f"{rows.sentence()}."
    yield f"Intervals and probes by group: {variants['num_groups']:,} of {variants['group']}."
    if variants["probe_note"]:
        yield f"No probes: {variants['probe_note']}."
