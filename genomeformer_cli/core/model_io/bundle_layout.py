"""Files of a bundle; no others are allowed.

model.safetensors    weights; above 5 GB in shards, with `model.safetensors.index.json`
config.json          configuration of the model
tokenizer.json       vocabulary, with tokenizer_config.json and special_tokens_map.json
README.md            model card
eval_results.json    numbers of the card, for programs
train_config.toml    configuration of the training run
genomes.lock.jsonl   genomes of the corpus
CITATION.cff         citation
LICENSE              licence
images/NAME.png      pictures of the card
model.onnx           model for ONNX runtimes, on request
SHA256SUMS           checksums of all other files; SHA256SUMS.sig is their signature, on request
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


def is_bundle_file(name: str) -> bool:
    """Return True if a bundle may contain a file of that name."""
    return (
        name in (*REQUIRED, *_OPTIONAL)
        or SHARD_NAME.fullmatch(name) is not None
        or _PICTURE.fullmatch(name) is not None
    )


def list_files(folder: Path) -> list[str]:
    """Return the names of all files below a folder, sorted."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return sorted(file.relative_to(folder).as_posix() for file in files)


def is_bundle(folder: Path) -> bool:
    """Return True if the folder has both model card and seal."""
    return (folder / CARD_FILE).is_file() and (folder / SEAL).is_file()


def check_layout(folder: Path) -> None:
    """Check that a bundle has all required files and no others.

    Raises:
        CorruptError: A file is missing or unexpected.
    """
    names = list_files(folder)
    hint = "make the bundle again with `genomeformer release`, or fetch it again"
    for name in REQUIRED:
        if name not in names:
            raise CorruptError(f"the bundle `{folder.name}` has no `{name}`", hint=hint)
    strange = [name for name in names if not is_bundle_file(name)]
    if strange:
        raise CorruptError(
            f"the bundle `{folder.name}` holds `{strange[0]}`, which does not belong to a bundle",
            hint=hint,
        )
