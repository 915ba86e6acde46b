"""Tokenizer classes that the settings of a published folder name, and the rules that port them.

The same vocabulary can be cut in different ways; the class decides. A class of the authors' own
code is ported by its name, or the folder is refused. Stock classes that read `tokenizer.json` or
`vocab.txt` as they are need no entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.tokenizers.published.vocabulary import (
    CONFIG_FILE,
    VOCABULARY_FILE,
    read_optional,
)

# Rule of `read_published_tokenizer` by the name of the authors' class, which is ported.
_PORTED = {
    "CaduceusTokenizer": "characters",
    "DNAKmerTokenizer": "generator",
    "HybridDNATokenizer": "carbon",
    "HyenaDNATokenizer": "characters",
    "LCATokenizer": "lca",
    "ProkBERTTokenizer": "lca",
}
# Class of transformers that cuts `vocab.txt` by a rule of its own, e.g. for plant-dnagemma.
_ESM_CLASS, _ESM_RULE = "EsmTokenizer", "esm"


def named_rule(folder: Path) -> str | None:
    """Return the rule of the tokenizer class that a folder names; None if any rule may read it.

    Raises:
        CheckpointError: The settings name code that is not ported.
        DocumentError: The settings are damaged.
    """
    config = read_optional(folder / CONFIG_FILE)
    auto_map = config.get("auto_map") or {}
    references = auto_map.get("AutoTokenizer") if isinstance(auto_map, Mapping) else auto_map
    if not references:
        name = _class_name(config.get("tokenizer_class"))
        if name == _ESM_CLASS and (folder / VOCABULARY_FILE).is_file():
            return _ESM_RULE
        return _PORTED.get(name)
    # A slow and a fast class, of which one may be null.
    class_names = references if isinstance(references, list) else [references]
    rules = {_PORTED.get(_class_name(name)) for name in class_names if name is not None}
    if len(rules) == 1 and None not in rules:
        return rules.pop()
    raise CheckpointError(
        f"`{folder / CONFIG_FILE}`: `auto_map` names the code `{str(references)[:80]}`, which is "
        "not ported",
        hint="ported tokenizers: " + ", ".join(f"`{name}`" for name in sorted(_PORTED)),
    )


def _class_name(reference: Any) -> str:
    return str(reference).rpartition(".")[2]
