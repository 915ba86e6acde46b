"""Files of a bundle; no others are allowed.

Of every bundle:

model.safetensors    weights; above 5 GB in shards, with `model.safetensors.index.json`
config.json          configuration of the model
tokenizer.json       vocabulary, with tokenizer_config.json and special_tokens_map.json
README.md            model card
eval_results.json    numbers of the card, for programs
train_config.toml    configuration of the training run
LICENSE              licence
model.onnx           model for ONNX runtimes, on request
SHA256SUMS           checksums of all other files; SHA256SUMS.sig is their signature, on request

Of a pretrained model:

genomes.lock.jsonl   genomes of the corpus
CITATION.cff         citation
images/NAME.png      pictures of the card

Of a fine-tuned model:

head.safetensors     prediction head
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

HEAD_FILE = "head.safetensors"

_COMMON = (
    CONFIG_FILE,
    *TOKENIZER_FILES,
    CARD_FILE,
    RESULTS_FILE,
    TRAIN_CONFIG_FILE,
    LICENCE_FILE,
    SEAL,
)
REQUIRED = (*_COMMON, LOCK_NAME, CITATION_FILE)  # Of a pretrained model.
REQUIRED_FINETUNED = (*_COMMON, HEAD_FILE)
_OPTIONAL = (WEIGHTS_FILE, INDEX_FILE, ONNX_FILE, SIGNATURE)
_PICTURE = re.compile(rf"{PICTURES}/[A-Za-z0-9][A-Za-z0-9._-]*\.png")
_FILES = {*REQUIRED, *REQUIRED_FINETUNED, *_OPTIONAL}
# What a host is asked for, so that nothing else is ever fetched.
PATTERNS = (*sorted(_FILES), "model-?????-of-?????.safetensors", f"{PICTURES}/*.png")


def is_bundle_file(name: str) -> bool:
    """Return True if some kind of bundle may contain a file of that name."""
    return (
        name in _FILES
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


def is_finetuned(folder: Path) -> bool:
    """Return True if the model of a bundle has a prediction head."""
    return (folder / HEAD_FILE).is_file()


def check_layout(folder: Path) -> None:
    """Check that a bundle has all files that its kind requires, and no others.

    Raises:
        CorruptError: A file is missing or unexpected.
    """
    names = list_files(folder)
    finetuned = is_finetuned(folder)
    required, required_elsewhere = (REQUIRED, REQUIRED_FINETUNED)[:: -1 if finetuned else 1]
    command = "finetune" if finetuned else "release"
    hint = f"make the bundle again with `genomeformer {command}`, or fetch it again"
    for name in required:
        if name not in names:
            raise CorruptError(f"the bundle `{folder.name}` has no `{name}`", hint=hint)
    foreign = {*required_elsewhere} - {*required}
    strange = [name for name in names if not is_bundle_file(name) or name in foreign]
    if strange:
        raise CorruptError(
            f"the bundle `{folder.name}` holds `{strange[0]}`, which does not belong to a bundle",
            hint=hint,
        )
