"""Make a corpus of genomes: each tokenized in one pass, several at a time, resumable; count it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from genomeformer_cli.core.configuration import to_plain
from genomeformer_cli.core.corpus.bpe_training import train_corpus_bpe
from genomeformer_cli.core.corpus.build_dir import BuildDir, clear_parts
from genomeformer_cli.core.corpus.format import Manifest, Segment
from genomeformer_cli.core.corpus.genome_shards import GenomeShard, GenomeShardWriter, load_minhash
from genomeformer_cli.core.corpus.minhash import Hashes, shared_fractions
from genomeformer_cli.core.corpus.reader import Corpus, load_manifest, open_corpus
from genomeformer_cli.core.corpus.splits import SplitBy, SplitConfig, unit_of
from genomeformer_cli.core.corpus.statistics import CorpusStatistics, corpus_statistics
from genomeformer_cli.core.corpus.writer import CorpusPlan, TokenizedGenome, finish_corpus
from genomeformer_cli.core.errors import (
    ConfigError,
    CorruptError,
    EntryExistsError,
    FormatError,
    GenomeformerError,
)
from genomeformer_cli.core.formats.fasta import Block, FastaReader
from genomeformer_cli.core.genomes.genome import Genome, cached_genomes
from genomeformer_cli.core.genomes.local import import_fasta, name_from_path
from genomeformer_cli.core.genomes.select import no_genomes, select_genomes
from genomeformer_cli.core.reporting import Reporter, Tracker
from genomeformer_cli.core.store.layout import Kind, Store, check_name
from genomeformer_cli.core.store.seal import file_sha256
from genomeformer_cli.core.tokenizers.bpe import BpeTokenizer
from genomeformer_cli.core.tokenizers.files import build_tokenizer, save_tokenizer
from genomeformer_cli.core.tokenizers.protocol import Tokenizer, vocabulary_sha256
from genomeformer_cli.core.tokenizers.token_lengths import num_overlapping

NEAR_COPY = 0.5
DEFAULT_VOCABULARY = 4096


@dataclass(frozen=True, kw_only=True)
class TokenizeRequest:
    """Request to tokenize."""

    name: str  # Name of the corpus.
    genomes: tuple[str, ...] = ()  # Genomes in the cache.
    files: tuple[Path, ...] = ()  # FASTA files, imported into the cache in the same pass.
    taxon: str | None = None  # Taxid or name of any rank; all its genomes in the cache.
    lock: Path | None = None  # Lock file; all its genomes.
    all_genomes: bool = False  # All genomes in the cache.
    tokenizer: str = "char"  # Kind of tokenizer.
    # Settings of the tokenizer: `k` and `stride`, or `vocab_size`.
    settings: dict[str, Any] = field(default_factory=dict)
    split: SplitConfig = field(default_factory=SplitConfig)  # Rule of the held-out split.
    jobs: int = 2  # Genomes tokenized at a time.


@dataclass(frozen=True, kw_only=True)
class TokenizeResult:
    """Corpus."""

    manifest: Manifest  # Contents of the corpus.
    folder: Path  # Folder of the corpus.
    new: bool  # True if it was made now.
    # Held-out units that share most 31-mers with training, and the shared fraction.
    near_copies: dict[str, float] = field(default_factory=dict)


def tokenize_genomes(
    request: TokenizeRequest, *, reporter: Reporter, store: Store | None = None
) -> TokenizeResult:
    """Make a corpus, or find it in the cache.

    Raises:
        UsageError: No genomes are given.
        EntryExistsError: A corpus of that name has other contents.
        FastaError, AlphabetError, CorruptError: A genome is invalid.
    """
    store = store or Store()
    check_name(request.name)
    cached = select_genomes(
        store,
        names=request.genomes,
        taxon=request.taxon,
        lock=request.lock,
        all_genomes=request.all_genomes,
    )
    if not cached and not request.files:
        raise no_genomes(store, "tokenize")
    tokenizer = _tokenizer(request, cached, store, reporter)
    with store.lock(Kind.CORPORA, request.name):
        if store.has(Kind.CORPORA, request.name):
            return _reopen_corpus(request, tokenizer, cached, store, reporter)
        return _Build(request, tokenizer, store, reporter).run(cached)


def _tokenizer(
    request: TokenizeRequest, cached: list[tuple[Genome, Path]], store: Store, reporter: Reporter
) -> Tokenizer:
    """Build the tokenizer, or train it on a sample of the training genomes."""
    if request.tokenizer != BpeTokenizer.kind:
        return build_tokenizer(request.tokenizer, **request.settings)
    settings = {"vocab_size": DEFAULT_VOCABULARY, **request.settings}
    if set(settings) != {"vocab_size"}:
        raise ConfigError(
            "`--tokenizer bpe` has no setting but `--vocab-size`",
            hint="`--k` and `--stride` belong to `--tokenizer kmer`",
        )
    imported = [import_fasta(path, store=store, reporter=reporter)[0] for path in request.files]
    genomes = cached + cached_genomes(store, [genome.name for genome in imported])
    reporter.note("training byte pairs on a sample of the genomes that are not held out")
    distinct = list({genome.name: (genome, fasta) for genome, fasta in genomes}.values())
    return train_corpus_bpe(distinct, request.split, settings["vocab_size"])


def _reopen_corpus(
    request: TokenizeRequest,
    tokenizer: Tokenizer,
    cached: list[tuple[Genome, Path]],
    store: Store,
    reporter: Reporter,
) -> TokenizeResult:
    genomes = [genome for genome, _ in cached]
    for path in request.files:
        genome, _ = import_fasta(path, store=store, reporter=reporter)
        if genome not in genomes:
            genomes.append(genome)
    folder = store.path(Kind.CORPORA, request.name)
    manifest = load_manifest(folder)
    if manifest.inputs_sha256 != _inputs_sha256(tokenizer, genomes, request.split):
        raise EntryExistsError(
            f"the corpus `{request.name}` exists and was made from other genomes or settings",
            hint=f"choose another `--name`, or `genomeformer cache rm corpora/{request.name}`",
        )
    # A process that was killed after it had made the corpus had not come to these.
    clear_parts(folder)
    _keep_vocabulary(tokenizer, store)
    return TokenizeResult(manifest=manifest, folder=folder, new=False)


def _inputs_sha256(tokenizer: Tokenizer, genomes: Sequence[Genome], split: SplitConfig) -> str:
    inputs: list[Any] = [
        vocabulary_sha256(tokenizer),
        [[g.name, g.sha256] for g in genomes],
        to_plain(split),
    ]
    if tokenizer.settings:
        inputs.append(tokenizer.settings)
    overlap = num_overlapping(tokenizer)
    # A corpus made before these tokens were left out is another one.
    if overlap and unit_of(split, len(genomes)) is SplitBy.TAIL:
        inputs.append({"unused": overlap})
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


class _StoppedError(Exception):
    """Another genome failed, or the user interrupted."""


class _Build:
    """Builder of one corpus, whose lock is held."""

    def __init__(
        self, request: TokenizeRequest, tokenizer: Tokenizer, store: Store, reporter: Reporter
    ) -> None:
        self._request = request
        self._tokenizer = tokenizer
        self._store = store
        self._reporter = reporter
        self._stop = threading.Event()
        self._folder = store.path(Kind.CORPORA, request.name)

    def run(self, cached: list[tuple[Genome, Path]]) -> TokenizeResult:
        request = self._request
        names = {genome.name for genome, _ in cached} | {
            name_from_path(path) for path in request.files
        }
        by = unit_of(request.split, len(names))
        self._workspace = BuildDir(
            self._folder, self._tokenizer, with_sketch=by is not SplitBy.TAIL
        )
        try:
            genomes = self._tokenize_all(cached)
            inputs = _inputs_sha256(
                self._tokenizer, [item.genome for item in genomes], request.split
            )
            checksums: dict[str, str] = {}
            with self._store.create(Kind.CORPORA, request.name, checksums=checksums) as building:
                plan = CorpusPlan(name=request.name, split=request.split, inputs_sha256=inputs)
                corpus = finish_corpus(building, self._tokenizer, genomes, plan)
                checksums |= corpus.sha256
        except GenomeformerError:
            self._workspace.clear(unless_finished=True)
            raise
        near = {} if by is SplitBy.TAIL else _near_copies(genomes, corpus.segments, by)
        for name, fraction in near.items():
            self._reporter.warn(
                f"held-out `{name}` shares {fraction:.0%} of its 31-mers with training: "
                "nearly a copy, its score does not show generalisation"
            )
        self._workspace.clear()
        _keep_vocabulary(self._tokenizer, self._store)
        return TokenizeResult(
            manifest=corpus.manifest, folder=self._folder, new=True, near_copies=near
        )

    def _tokenize_all(self, cached: list[tuple[Genome, Path]]) -> list[TokenizedGenome]:
        sizes = [path.stat().st_size for _, path in cached]
        sizes += [path.stat().st_size for path in self._request.files if path.is_file()]
        with (
            self._reporter.track("tokenizing", sum(sizes), "bytes") as tracker,
            ThreadPoolExecutor(self._request.jobs) as pool,
        ):
            futures = [
                pool.submit(self._from_cache, genome, path, tracker) for genome, path in cached
            ]
            futures += [pool.submit(self._from_file, path, tracker) for path in self._request.files]
            try:
                finished, _ = wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
            for future in futures:
                failure = future.exception() if future in finished else None
                if failure is not None and not isinstance(failure, _StoppedError):
                    raise failure
            tokenized = [future.result() for future in futures]
        return list({genome.genome.name: genome for genome in reversed(tokenized)}.values())[::-1]

    def _from_cache(self, genome: Genome, path: Path, tracker: Tracker) -> TokenizedGenome:
        finished = self._workspace.find(genome.sha256)
        if finished is not None:
            tracker.advance(path.stat().st_size)
            return TokenizedGenome(genome=genome, folder=finished[0], part=finished[1])
        damaged = CorruptError(
            f"`{path}` does not match its recorded checksum",
            hint=f"`genomeformer cache rm genomes/{genome.name}`, then fetch it again",
        )
        reader = FastaReader(path, where=f"genome `{genome.name}`")

        def write(writer: GenomeShardWriter) -> tuple[GenomeShard, str]:
            part = writer.write(self._followed(reader.blocks(), reader, tracker))
            if reader.text.packed.sha256 != genome.sha256:
                raise damaged
            return part, genome.sha256

        try:
            folder, part = self._workspace.make(write)
        except FormatError as failure:
            raise (damaged if file_sha256(path) != genome.sha256 else failure) from failure
        return TokenizedGenome(genome=genome, folder=folder, part=part)

    def _from_file(self, path: Path, tracker: Tracker) -> TokenizedGenome:
        imported: list[Genome] = []

        def write(writer: GenomeShardWriter) -> tuple[GenomeShard, str]:
            parts: list[GenomeShard] = []

            def consume(blocks: Iterator[Block], reader: FastaReader) -> None:
                parts.append(writer.write(self._followed(blocks, reader, tracker)))

            genome, _ = import_fasta(
                path, store=self._store, reporter=self._reporter, consume=consume
            )
            imported.append(genome)
            if not parts:
                raise _KnownError
            return parts[0], genome.sha256

        try:
            folder, part = self._workspace.make(write)
        except _KnownError:
            fasta = self._store.path(Kind.GENOMES, imported[0].name) / imported[0].fasta
            return self._from_cache(imported[0], fasta, tracker)
        return TokenizedGenome(genome=imported[0], folder=folder, part=part)

    def _followed(
        self, blocks: Iterator[Block], reader: FastaReader, tracker: Tracker
    ) -> Iterator[Block]:
        num_reported = 0
        for block in blocks:
            if self._stop.is_set():
                raise _StoppedError
            tracker.advance(reader.text.packed.num_read - num_reported)
            num_reported = reader.text.packed.num_read
            yield block


class _KnownError(Exception):
    """The file is a genome of the cache."""


def _near_copies(
    genomes: Sequence[TokenizedGenome], segments: Sequence[Segment], by: SplitBy
) -> dict[str, float]:
    """Return held-out units that share most k-mers with training."""
    by_unit: dict[str, list[Hashes]] = {}
    for segment, hashes in _sketches(genomes, segments):
        if segment.split == "validation":
            record = "" if by is SplitBy.GENOME else f"/{segment.record}"
            by_unit.setdefault(segment.genome + record, []).append(hashes)
    units = {name: np.unique(np.concatenate(hashes)) for name, hashes in by_unit.items()}
    trained = (h for segment, h in _sketches(genomes, segments) if segment.split == "train")
    shared = shared_fractions(units, trained)
    return {name: fraction for name, fraction in shared.items() if fraction > NEAR_COPY}


def _sketches(
    genomes: Sequence[TokenizedGenome], segments: Sequence[Segment]
) -> Iterator[tuple[Segment, Hashes]]:
    remaining = iter(segments)
    for genome in genomes:
        for hashes in load_minhash(genome.folder, genome.part):
            yield next(remaining), hashes


def _keep_vocabulary(tokenizer: Tokenizer, store: Store) -> None:
    if tokenizer.kind == BpeTokenizer.kind:
        parts = [str(len(tokenizer.tokens)), vocabulary_sha256(tokenizer)[:8]]
    else:
        parts = [f"{key}{value}" for key, value in tokenizer.settings.items()]
    name = "-".join([tokenizer.kind, *parts])
    store.ensure(Kind.VOCABULARIES, name, partial(save_tokenizer, tokenizer))


@dataclass(frozen=True, kw_only=True)
class DescribeResult(TokenizeResult):
    """Corpus and its statistics."""

    statistics: CorpusStatistics  # Counts.


def describe_corpus(
    request: str | TokenizeRequest, *, reporter: Reporter, store: Store | None = None
) -> DescribeResult:
    """Compute the statistics of a corpus.

    Args:
        request: Name of a corpus, or a request to make one first.
        reporter: Receives progress.
        store: Cache.

    Raises:
        NotInCacheError: The corpus is unknown.
        CorruptError: The corpus is damaged.
        GenomeformerError: The corpus cannot be made.
    """
    store = store or Store()
    if isinstance(request, TokenizeRequest):
        result = tokenize_genomes(request, reporter=reporter, store=store)
        corpus = Corpus(result.folder)
    else:
        corpus = open_corpus(store, request)
        result = TokenizeResult(manifest=corpus.manifest, folder=corpus.folder, new=False)
    return DescribeResult(**vars(result), statistics=corpus_statistics(corpus, reporter))
