"""Describe a corpus in numbers: one that is there, or one that is made first."""

from __future__ import annotations

from dataclasses import dataclass

from genomeformer_cli.core.corpus.reader import Corpus, open_corpus
from genomeformer_cli.core.corpus.statistics import CorpusStatistics, corpus_statistics
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.workflows.tokenize import (
    TokenizeRequest,
    TokenizeResult,
    tokenize_genomes,
)


@dataclass(frozen=True, kw_only=True)
class DescribeResult(TokenizeResult):
    """A corpus and its numbers.

    Attributes:
        statistics: What was counted.
    """

    statistics: CorpusStatistics


def describe_corpus(
    request: str | TokenizeRequest, *, reporter: Reporter, store: Store | None = None
) -> DescribeResult:
    """Count what a corpus is made of.

    Args:
        request: The name of a corpus, or what to make one of first.
        reporter: Follows the reading.
        store: The cache.

    Raises:
        NotInCacheError: There is no corpus of that name.
        CorruptError: It is damaged.
        GenomeformerError: What making it may raise.
    """
    store = store or Store()
    if isinstance(request, TokenizeRequest):
        made = tokenize_genomes(request, reporter=reporter, store=store)
        corpus = Corpus(made.folder)
    else:
        corpus = open_corpus(store, request)
        made = TokenizeResult(manifest=corpus.manifest, folder=corpus.folder, new=False)
    return DescribeResult(**vars(made), statistics=corpus_statistics(corpus, reporter))
