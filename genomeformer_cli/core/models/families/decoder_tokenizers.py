"""Tokenizers of decoders: GENERator, Carbon, k-mers, a `tokenizer.json`, or a tokenizer of ours.

The layout of the weights does not tell the tokenizer; its own files do.
"""

from __future__ import annotations

from pathlib import Path

from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.models.families.protocol import Document
from genomeformer_cli.core.tokenizers.files import load_tokenizer
from genomeformer_cli.core.tokenizers.protocol import Tokenizer
from genomeformer_cli.core.tokenizers.published.reading import read_published_tokenizer
from genomeformer_cli.core.tokenizers.published.vocabulary import CONFIG_FILE, read_optional

# Rule of `read_published_tokenizer` by the name of the authors' class, which is ported.
_PORTED = {"DNAKmerTokenizer": "generator", "HybridDNATokenizer": "carbon"}
# By that of a class of transformers; the k-mers of plant-dnagpt and plant-dnagemma.
_STOCK = {"EsmTokenizer": "esm"}
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
        _rule(folder, config),
        num_rows=num_rows if isinstance(num_rows, int) else None,
    )


def _rule(folder: Path, config: Document) -> str:
    auto_map = config.get("auto_map") or {}
    references = auto_map.get("AutoTokenizer") if isinstance(auto_map, dict) else auto_map
    if not references:
        return {**_PORTED, **_STOCK}.get(str(config.get("tokenizer_class")), _STANDARD)
    # A slow and a fast class, of which one may be null.
    classes = references if isinstance(references, list) else [references]
    names = [str(name).rpartition(".")[2] for name in classes if name is not None]
    if len(names) == 1 and names[0] in _PORTED:
        return _PORTED[names[0]]
    raise CheckpointError(
        f"`{folder / CONFIG_FILE}`: `auto_map` names the code `{references}`, which is not ported",
        hint="ported tokenizers: " + ", ".join(f"`{name}`" for name in sorted(_PORTED)),
    )
