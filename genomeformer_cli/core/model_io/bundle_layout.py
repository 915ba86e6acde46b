"""Which files a bundle has, and that it has no others.

model.safetensors    the weights; above 5 GB in shards, with `model.safetensors.index.json`
config.json          the model
tokenizer.json       the vocabulary, with tokenizer_config.json and special_tokens_map.json
README.md            the card
eval_results.json    its numbers for machines
train_config.toml    the configuration that made it
genomes.lock.jsonl   the genomes it was made from
CITATION.cff         how to cite it
LICENSE              what one may do with it
images/NAME.png      the pictures of the card
model.onnx           the same model for other runtimes, if it was asked for
SHA256SUMS           every other file; SHA256SUMS.sig signs it, if it is signed
"""

from __future__ import annotations

import re
from pathlib import Path

from genomeformer_cli.core.errors import CorruptError
from genomeformer_cli.core.genomes.lockfile import LOCK_NAME
from genomeformer_cli.core.model_io.model_folder import CONFIG_FILE
from genomeformer_cli.core.model_io.tensors import INDEX_FILE, SHARD_NAME, WEIGHTS_FILE
from genomeformer_cli.core.store.seal import SEAL, SIGNATURE
from genomeformer_cli.core.tokenizers.files import TOKENIZER_FILES

CARD_FILE = "README.md"
RESULTS_FILE = "eval_results.json"
TRAIN_CONFIG_FILE = "train_config.toml"
CITATION_FILE = "CITATION.cff"
LICENCE_FILE = "LICENSE"
ONNX_FILE = "model.onnx"
PICTURES = "images"

REQUIRED = (
    CONFIG_FILE,
    *TOKENIZER_FILES,
    CARD_FILE,
    RESULTS_FILE,
    TRAIN_CONFIG_FILE,
    LOCK_NAME,
    CITATION_FILE,
    LICENCE_FILE,
    SEAL,
)
_OPTIONAL = (WEIGHTS_FILE, INDEX_FILE, ONNX_FILE, SIGNATURE)
_PICTURE = re.compile(rf"{PICTURES}/[A-Za-z0-9][A-Za-z0-9._-]*\.png")
# What a host is asked for, so that nothing else is ever fetched.
PATTERNS = (*REQUIRED, *_OPTIONAL, "model-?????-of-?????.safetensors", f"{PICTURES}/*.png")


def is_of_a_bundle(name: str) -> bool:
    """Whether a bundle may hold a file of that name."""
    return (
        name in (*REQUIRED, *_OPTIONAL)
        or SHARD_NAME.fullmatch(name) is not None
        or _PICTURE.fullmatch(name) is not None
    )


def files_of(folder: Path) -> list[str]:
    """Names of all files below a folder, in order."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return sorted(file.relative_to(folder).as_posix() for file in files)


def is_bundle(folder: Path) -> bool:
    """Whether a folder looks like a bundle: it has a card and a seal."""
    return (folder / CARD_FILE).is_file() and (folder / SEAL).is_file()


def check_layout(folder: Path) -> None:
    """Make sure that a bundle has every file it must have, and no other.

    Raises:
        CorruptError: One is missing, or one is too many.
    """
    names = files_of(folder)
    hint = "make the bundle again with `genomeformer release`, or fetch it again"
    for name in REQUIRED:
        if name not in names:
            raise CorruptError(f"the bundle `{folder.name}` has no `{name}`", hint=hint)
    strange = [name for name in names if not is_of_a_bundle(name)]
    if strange:
        raise CorruptError(
            f"the bundle `{folder.name}` holds `{strange[0]}`, which is no file of a bundle",
            hint=hint,
        )
