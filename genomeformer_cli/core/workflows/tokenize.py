"""Make a corpus of genomes in the cache."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from genomeformer_cli.core.configuration import to_plain
from genomeformer_cli.core.corpus.format import Manifest
from genomeformer_cli.core.corpus.reader import load_manifest
from genomeformer_cli.core.corpus.splits import SplitConfig
from genomeformer_cli.core.corpus.writer import CorpusWriter
from genomeformer_cli.core.errors import CorruptError, EntryExistsError, UsageError
from genomeformer_cli.core.genomes.fasta import read_records
from genomeformer_cli.core.genomes.genome import Genome, cached_genomes
from genomeformer_cli.core.genomes.local import import_fasta
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.layout import Kind, Store, check_name
from genomeformer_cli.core.store.seal import file_sha256
from genomeformer_cli.core.tokenizers.files import build_tokenizer, save_tokenizer
from genomeformer_cli.core.tokenizers.protocol import Tokenizer, vocabulary_sha256


@dataclass(frozen=True, kw_only=True)
class TokenizeRequest:
    """What to tokenize, and how.

    Attributes:
        name: Of the corpus.
        genomes: Names of genomes in the cache.
        files: FASTA files, imported into the cache first.
        all_genomes: Every genome in the cache.
        tokenizer: Kind of tokenizer.
        split: Who is held out.
    """

    name: str
    genomes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    all_genomes: bool = False
    tokenizer: str = "char"
    split: SplitConfig = field(default_factory=SplitConfig)


@dataclass(frozen=True, kw_only=True)
class TokenizeResult:
    """The corpus, and whether it had to be made."""

    manifest: Manifest
    folder: Path
    new: bool


def tokenize_genomes(
    request: TokenizeRequest, *, reporter: Reporter, store: Store | None = None
) -> TokenizeResult:
    """Make a corpus, or find it made.

    Raises:
        UsageError: No genomes were given.
        EntryExistsError: A corpus of that name was made from something else.
        FastaError, AlphabetError, CorruptError: A genome cannot be used.
    """
    store = store or Store()
    tokenizer = build_tokenizer(request.tokenizer)
    genomes = _gather(request, store, reporter)
    inputs = _inputs_sha256(tokenizer, [genome for genome, _ in genomes], request.split)
    folder = store.path(Kind.CORPORA, check_name(request.name))
    with store.lock(Kind.CORPORA, request.name):
        if store.has(Kind.CORPORA, request.name):
            manifest = load_manifest(folder)
            if manifest.inputs_sha256 == inputs:
                return TokenizeResult(manifest=manifest, folder=folder, new=False)
            raise EntryExistsError(
                f"the corpus `{request.name}` exists and was made from other genomes or settings",
                hint=f"choose another `--name`, or `genomeformer cache rm corpora/{request.name}`",
            )
        with store.create(Kind.CORPORA, request.name) as building:
            writer = CorpusWriter(building, tokenizer)
            _write(writer, genomes, reporter)
            manifest = writer.finish(name=request.name, split=request.split, inputs_sha256=inputs)
    _keep_vocabulary(tokenizer, store)
    return TokenizeResult(manifest=manifest, folder=folder, new=True)


def _gather(
    request: TokenizeRequest, store: Store, reporter: Reporter
) -> list[tuple[Genome, Path]]:
    imported = [
        import_fasta(path, store=store, reporter=reporter)[0].name for path in request.files
    ]
    names = list(dict.fromkeys([*request.genomes, *imported]))
    genomes = cached_genomes(store, None if request.all_genomes else names)
    if not genomes:
        known = ", ".join(f"`{entry.name}`" for entry in store.entries(Kind.GENOMES)[:12])
        hint = (
            f"the cache holds {known}; name them, or take `--all`"
            if known
            else "first run `genomeformer fetch --sample`"
        )
        raise UsageError("no genomes to tokenize", hint=hint)
    return genomes


def _inputs_sha256(tokenizer: Tokenizer, genomes: list[Genome], split: SplitConfig) -> str:
    inputs = [
        vocabulary_sha256(tokenizer),
        [[g.name, g.sha256] for g in genomes],
        to_plain(split),
    ]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def _write(writer: CorpusWriter, genomes: list[tuple[Genome, Path]], reporter: Reporter) -> None:
    with reporter.track(
        "tokenizing", sum(genome.num_bases for genome, _ in genomes), "bases"
    ) as tracker:
        for genome, fasta in genomes:
            if file_sha256(fasta) != genome.sha256:
                raise CorruptError(
                    f"`{fasta}` does not match its recorded checksum",
                    hint=f"`genomeformer cache rm genomes/{genome.name}`, then fetch it again",
                )
            writer.add_genome(genome, read_records(fasta, inspect=False))
            tracker.advance(genome.num_bases)


def _keep_vocabulary(tokenizer: Tokenizer, store: Store) -> None:
    with store.lock(Kind.VOCABULARIES, tokenizer.kind):
        if not store.has(Kind.VOCABULARIES, tokenizer.kind):
            with store.create(Kind.VOCABULARIES, tokenizer.kind) as folder:
                save_tokenizer(tokenizer, folder)
