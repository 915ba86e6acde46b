"""Build directory of a corpus: finished parts survive a killed process.

`ROOT/corpora/.NAME.parts/` holds one folder per finished genome, named by a hash of its inputs: the
genome's checksum, the vocabulary, the format rules. A rerun reuses parts with equal inputs.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from genomeformer_cli.core.corpus.genome_shards import (
    GenomeShard,
    GenomeShardWriter,
    load_genome_shard,
)
from genomeformer_cli.core.corpus.writer import SHARD_TOKENS
from genomeformer_cli.core.errors import CorruptError
from genomeformer_cli.core.store.atomic import explain_write_failure
from genomeformer_cli.core.store.seal import check_seal, seal
from genomeformer_cli.core.tokenizers.protocol import Tokenizer, vocabulary_sha256

_RULES = 2
_UNFINISHED = "unfinished-"


def _folder_of(corpus: Path) -> Path:
    return corpus.with_name(f".{corpus.name}.parts")


def clear_parts(corpus: Path) -> None:
    """Remove the parts of a finished corpus; the caller holds the corpus's lock."""
    shutil.rmtree(_folder_of(corpus), ignore_errors=True)


class BuildDir:
    """Parts of one corpus; the caller holds the corpus's lock.

    Args:
        corpus: Final path of the corpus.
        tokenizer: Tokenizer of the corpus.
        with_sketch: True if parts need a MinHash sketch.
    """

    def __init__(self, corpus: Path, tokenizer: Tokenizer, *, with_sketch: bool) -> None:
        self.folder = _folder_of(corpus)
        self._tokenizer = tokenizer
        self._with_sketch = with_sketch
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as failure:
            raise explain_write_failure(self.folder, failure) from failure
        for leftover in self.folder.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _part_path(self, genome_sha256: str) -> Path:
        settings = getattr(self._tokenizer, "settings", {})
        inputs = [genome_sha256, vocabulary_sha256(self._tokenizer), settings, SHARD_TOKENS]
        key = json.dumps([_RULES, self._with_sketch, *inputs], sort_keys=True)
        return self.folder / hashlib.sha256(key.encode()).hexdigest()[:32]

    def find(self, genome_sha256: str) -> tuple[Path, GenomeShard] | None:
        """Return the finished part of a genome, if it exists and matches its seal."""
        path = self._part_path(genome_sha256)
        try:
            check_seal(path)
        except CorruptError:  # a damaged part is rebuilt
            return None
        part = load_genome_shard(path)
        return (path, part) if part else None

    def make(
        self, write: Callable[[GenomeShardWriter], tuple[GenomeShard, str]]
    ) -> tuple[Path, GenomeShard]:
        """Make a part; `write` fills it and returns it with the genome's checksum."""
        try:
            temporary = Path(tempfile.mkdtemp(dir=self.folder, prefix=_UNFINISHED))
            writer = GenomeShardWriter(
                temporary, self._tokenizer, shard_tokens=SHARD_TOKENS, with_sketch=self._with_sketch
            )
            part, genome_sha256 = write(writer)
            seal(temporary)
            path = self._part_path(genome_sha256)
            shutil.rmtree(path, ignore_errors=True)
            temporary.rename(path)
        except OSError as failure:
            raise explain_write_failure(self.folder, failure) from failure
        return path, part

    def clear(self, *, unless_finished: bool = False) -> None:
        """Remove all parts; with `unless_finished`, only if no part is finished."""
        parts = [load_genome_shard(path) for path in self.folder.glob("*")]
        any_finished = any(part is not None and part.records for part in parts)
        if not (unless_finished and any_finished):
            shutil.rmtree(self.folder, ignore_errors=True)
