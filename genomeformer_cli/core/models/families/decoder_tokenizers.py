"""Tokenizers of decoders: GENERator, Carbon, k-mers, a `tokenizer.json`, or a tokenizer of ours.

The layout of the weights does not tell the tokenizer; its own files do.
"""

from __future__ import annotations

from pathlib import Path

from genomeformer_cli.core.models.families.protocol import Document
from genomeformer_cli.core.tokenizers.files import load_tokenizer
from genomeformer_cli.core.tokenizers.protocol import Tokenizer
from genomeformer_cli.core.tokenizers.published.reading import read_published_tokenizer
from genomeformer_cli.core.tokenizers.published.vocabulary import CONFIG_FILE, read_optional

_STANDARD = "tokenizer.json"


def read_decoder_tokenizer(folder: Path, document: Document) -> Tokenizer:
    """Read the tokenizer in the folder of a decoder.

    Raises:
        CheckpointError: A file is missing or damaged, or names code that is not ported.
    """
    config = read_optional(folder / CONFIG_FILE)
    if isinstance(config.get("genomeformer"), dict):
        return load_tokenizer(folder)
    num_rows = document.get("vocab_size")
    return read_published_tokenizer(
        folder,
        _STANDARD,
        num_rows=num_rows if isinstance(num_rows, int) else None,
    )
