"""Families of encoders: their layouts, tokenizers, and settings for embeddings.

Features of the last layer, averaged over the tokens, are what the authors of DNABERT-2, Nucleotide
Transformer and GENA-LM use for whole sequences; the others recommend nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from functools import partial
from pathlib import Path

from genomeformer_cli.core.models.encoder import EncoderConfig
from genomeformer_cli.core.models.families import bert, dnabert2, esm, modernbert, prokbert
from genomeformer_cli.core.models.families.protocol import Document, Family
from genomeformer_cli.core.tokenizers.protocol import Tokenizer
from genomeformer_cli.core.tokenizers.published.reading import (
    TOKENIZER_FILE,
    read_published_tokenizer,
)
from genomeformer_cli.core.tokenizers.published.vocabulary import VOCABULARY_FILE

_HEADS = ("cls.predictions.", "lm_head.", "head.")


def fit_head(config: EncoderConfig, names: Collection[str]) -> EncoderConfig:
    """Return the configuration of a model that may be published without a head."""
    return dataclasses.replace(config, head=any(name.startswith(_HEADS) for name in names))


def _rows(document: Document) -> int | None:
    """Return the rows of the embedding; other values are refused with the configuration."""
    rows = document.get("vocab_size")
    return rows if isinstance(rows, int) and rows > 0 else None


def _read_trained(folder: Path, document: Document) -> Tokenizer:
    return read_published_tokenizer(folder, TOKENIZER_FILE, num_rows=_rows(document))


def _read_bert(folder: Path, document: Document) -> Tokenizer:
    return read_published_tokenizer(folder, "bert", num_rows=_rows(document))


def _read_words_or_trained(folder: Path, document: Document, *, rule: str) -> Tokenizer:
    """Read `vocab.txt` by a rule, or `tokenizer.json` where there is no such file."""
    if not (folder / VOCABULARY_FILE).exists():
        return _read_trained(folder, document)
    return read_published_tokenizer(folder, rule, num_rows=_rows(document))


def _read_lca(folder: Path, document: Document) -> Tokenizer:
    """Read the k-mers of ProkBERT; newer models give their length and shift in `config.json`."""
    return read_published_tokenizer(
        folder,
        "lca",
        num_rows=_rows(document),
        k=document.get("kmer"),
        shift=document.get("shift"),
    )


ENCODER_FAMILIES = (
    Family(
        name="bert",
        recognise=bert.is_bert,
        read_config=bert.read_bert_config,
        convert=bert.convert_bert,
        fit=fit_head,
        read_tokenizer=_read_bert,
    ),
    Family(
        name="gena-lm",
        recognise=bert.is_gena,
        read_config=bert.read_gena_config,
        convert=bert.convert_bert,
        fit=fit_head,
        read_tokenizer=_read_trained,
    ),
    Family(
        name="dnabert2",
        recognise=dnabert2.is_dnabert2,
        read_config=dnabert2.read_dnabert2_config,
        convert=dnabert2.convert_dnabert2,
        fit=fit_head,
        read_tokenizer=_read_trained,
    ),
    Family(
        name="nucleotide-transformer",
        recognise=esm.is_esm,
        read_config=esm.read_esm_config,
        convert=esm.convert_esm,
        fit=fit_head,
        read_tokenizer=partial(_read_words_or_trained, rule="esm"),
    ),
    Family(
        name="nucleotide-transformer-v2",
        recognise=esm.is_gated_esm,
        read_config=esm.read_gated_esm_config,
        convert=esm.convert_esm,
        fit=fit_head,
        read_tokenizer=partial(_read_words_or_trained, rule="esm"),
    ),
    Family(
        name="prokbert",
        recognise=prokbert.is_prokbert,
        read_config=prokbert.read_prokbert_config,
        convert=prokbert.convert_prokbert,
        fit=fit_head,
        read_tokenizer=_read_lca,
        has_spare_rows=True,  # e.g. 4,200 rows for 4,101 tokens
    ),
    Family(
        name="modernbert",
        recognise=modernbert.is_modernbert,
        read_config=modernbert.read_modernbert_config,
        convert=modernbert.convert_modernbert,
        fit=fit_head,
        read_tokenizer=_read_trained,
        has_spare_rows=True,  # rows are often rounded up to a multiple of 64
    ),
)
