"""Operons without training: the cosine of the vectors of neighbouring genes.

| source              | score of two neighbours on one strand; 0 on different strands        |
|---------------------|----------------------------------------------------------------------|
| model, random twin  | (1 + cosine) / 2 of the vectors of the genes                         |
| 3-mers ... 6-mers   | (1 + cosine) / 2 of the frequencies of k-mers                        |
| strand              | 1                                                                    |
| gap                 | 1 / (1 + bases between the genes); overlapping genes have a gap of 0 |

Areas are per genome; the mean over genomes has a bootstrap interval over them.
Shape letters: N genes, P pairs, E width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.embedding.embedder import embed_tokens
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.evaluation.grouped_ranking import Ranking
from genomeformer_cli.core.evaluation.held_out_scores import random_twins
from genomeformer_cli.core.evaluation.kmers import KS, kmer_frequencies
from genomeformer_cli.core.evaluation.probing import ProbingConfig
from genomeformer_cli.core.evaluation.task_source import GeneChain
from genomeformer_cli.core.evaluation.token_scores import ConfidenceInterval, bootstrap_mean
from genomeformer_cli.core.formats.labelled import RowCount
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import encode_bases

MODEL, TWIN, STRAND, GAP = "model", "random", "strand", "gap"
_OUTSIDE = "of genes outside of their contig"
_ONE_CLASS = "of genomes whose pairs are of one class"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ChainRow:
    """Measures of one source of scores, mean over genomes."""

    source: str  # `model`, `random`, `3-mers` ..., `strand` or `gap`.
    auroc: ConfidenceInterval  # Area under the ROC curve.
    auprc: ConfidenceInterval  # Average precision.


@dataclass(frozen=True, kw_only=True)
class ChainsResult:
    """Result on the neighbouring genes of one task."""

    name: str  # Name of the task.
    count: RowCount  # Pairs read, used and left out.
    num_genomes: int  # Genomes with pairs of both classes.
    num_positive: int  # Pairs of one operon.
    rows: tuple[ChainRow, ...]  # Measures.


@dataclass(frozen=True)
class _Pairs:
    """Pairs of neighbours; genes are numbered over all chains."""

    first_P: npt.NDArray[np.int64]
    is_same_strand_P: npt.NDArray[np.bool_]
    gap_P: Floats
    is_operon_P: npt.NDArray[np.bool_]
    genome_P: npt.NDArray[np.int64]


def evaluate_chains(
    loaded: LoadedModel,
    name: str,
    chains: Sequence[GeneChain],
    config: ProbingConfig,
    reporter: Reporter,
) -> ChainsResult:
    """Rank neighbouring genes by the similarity of their vectors, without training.

    Args:
        loaded: The model.
        name: Name of the task.
        chains: Genes.
        config: Window of the model, and seed of the random twin and the bootstrap.
        reporter: Receives counts and progress.

    Raises:
        InputError: No genome has pairs of both classes.
    """
    pairs, count = _pairs(chains)
    if not pairs.first_P.size:
        raise InputError(
            f"the task `{name}` has no genome with pairs of both classes: {count.sentence('pair')}",
            hint="the lists of operons name at least one pair of genes, and not every one",
        )
    sequences = [
        encode_bases(letters, where=f"task `{name}`")
        for chain in chains
        for letters in chain.letters
    ]
    (twin,) = random_twins(loaded, config.seed, 1).values()
    ids = [loaded.tokenizer.encode(codes) for codes in sequences]
    scores: dict[str, Floats] = {}
    for source, model in ((MODEL, loaded), (TWIN, replace(loaded, model=twin))):
        # The cosine of other poolings than the mean is near one for any pair.
        options = EmbedOptions(pool="mean", window=config.window)
        vectors_NE = np.nan_to_num(embed_tokens(model, ids, options, reporter=reporter))
        scores[source] = _cosine(vectors_NE, pairs.first_P)
    for k in KS:
        scores[f"{k}-mers"] = _cosine(kmer_frequencies(sequences, k), pairs.first_P)
    scores[STRAND] = np.ones(pairs.first_P.size)
    scores[GAP] = 1 / (1 + pairs.gap_P)
    rows = tuple(_measure(scores, pairs, config.seed))
    report = reporter.warn if count.left_out else reporter.note
    report(f"`{name}`, without training: {count.sentence('pair')}")
    return ChainsResult(
        name=name,
        count=count,
        num_genomes=np.unique(pairs.genome_P).size,
        num_positive=int(pairs.is_operon_P.sum()),
        rows=rows,
    )


def _pairs(chains: Sequence[GeneChain]) -> tuple[_Pairs, RowCount]:
    genomes = {genome: number for number, genome in enumerate({c.genome: 0 for c in chains})}
    rows: list[tuple[int, bool, float, bool, int]] = []
    num_read, first_gene = 0, 0
    for chain in chains:
        for pair, (gap, is_operon) in enumerate(zip(chain.gaps, chain.is_operon, strict=True)):
            num_read += 1
            if chain.letters[pair] and chain.letters[pair + 1]:
                has_same_strand = chain.strands[pair] == chain.strands[pair + 1]
                number = genomes[chain.genome]
                rows.append(
                    (first_gene + pair, has_same_strand, float(max(gap, 0)), is_operon, number)
                )
        first_gene += len(chain.letters)
    count = RowCount(read=num_read, used=num_read).without(_OUTSIDE, num_read - len(rows))
    classes: dict[int, set[bool]] = {}
    for *_, is_operon, number in rows:
        classes.setdefault(number, set()).add(is_operon)
    used = [row for row in rows if len(classes[row[-1]]) == 2]
    count = count.without(_ONE_CLASS, len(rows) - len(used))
    columns = list(zip(*used, strict=True)) if used else [()] * 5
    pairs = _Pairs(
        first_P=np.array(columns[0], dtype=np.int64),
        is_same_strand_P=np.array(columns[1], dtype=np.bool_),
        gap_P=np.array(columns[2], dtype=np.float64),
        is_operon_P=np.array(columns[3], dtype=np.bool_),
        genome_P=np.array(columns[4], dtype=np.int64),
    )
    return pairs, count


def _cosine(vectors_NE: Any, first_P: npt.NDArray[np.int64]) -> Floats:
    """Return (1 + cosine) / 2 of each vector and the next one, dense or sparse."""
    first, second = vectors_NE[first_P], vectors_NE[first_P + 1]
    if isinstance(vectors_NE, np.ndarray):
        first, second = first.astype(np.float64), second.astype(np.float64)
    products = [(a * b).sum(axis=1) for a, b in ((first, second), (first, first), (second, second))]
    dot_P, *squares = (np.asarray(product, dtype=np.float64).ravel() for product in products)
    length_P = np.sqrt(squares[0] * squares[1])
    return (1 + np.divide(dot_P, length_P, out=np.zeros_like(dot_P), where=length_P > 0)) / 2


def _measure(scores: Mapping[str, Floats], pairs: _Pairs, seed: int) -> Iterator[ChainRow]:
    genomes = np.unique(pairs.genome_P)
    for source, score_P in scores.items():
        allowed_P = np.where(pairs.is_same_strand_P, score_P, 0.0)
        areas = []
        for genome in genomes:
            rows = np.flatnonzero(pairs.genome_P == genome)
            ranking = Ranking(allowed_P[rows], pairs.is_operon_P[rows], pairs.genome_P[rows])
            areas.append((ranking.auroc(), ranking.auprc()))
        auroc_G, auprc_G = np.array(areas, dtype=np.float64).T
        generator = np.random.default_rng([seed, 47])
        yield ChainRow(
            source=source,
            auroc=bootstrap_mean(auroc_G, np.arange(genomes.size), generator),
            auprc=bootstrap_mean(auprc_G, np.arange(genomes.size), generator),
        )
