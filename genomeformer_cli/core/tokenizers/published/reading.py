"""Read the tokenizer in the folder of a published model, by the rule of its family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from genomeformer_cli.core.documents import DocumentError, read_json
from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.tokenizers.protocol import Tokenizer
from genomeformer_cli.core.tokenizers.published.classes import named_rule
from genomeformer_cli.core.tokenizers.published.greedy import GreedyKmerTokenizer
from genomeformer_cli.core.tokenizers.published.library import (
    frame_of,
    parse,
    without_limits,
)
from genomeformer_cli.core.tokenizers.published.trained import TrainedTokenizer
from genomeformer_cli.core.tokenizers.published.vocabulary import (
    CONFIG_FILE,
    MAX_FILE_BYTES,
    MAX_TOKENS,
    VOCABULARY_FILE,
    SpecialTokens,
    Vocabulary,
    check_rows,
    read_optional,
    read_roles,
    read_vocabulary_file,
)
from genomeformer_cli.core.tokenizers.published.windows import WindowTokenizer

TOKENIZER_FILE = "tokenizer.json"
_BERT = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
_ESM = {"pad": "<pad>", "unk": "<unk>", "cls": "<cls>", "mask": "<mask>", "eos": "<eos>"}
_MAX_WORD = 8
_CARBON_FILE = "dna_config.json"
_CARBON_K, _CARBON_TEXTS = 6, 151_669


def read_published_tokenizer(
    folder: Path, rule: str, *, num_rows: int | None = None, **settings: Any
) -> Tokenizer:
    """Read the tokenizer of a published model.

    The class that the folder names decides how its tokens are cut, whatever the family.

    Args:
        folder: Folder with the authors' files.
        rule: Rule if the folder names no class: `esm`, `dnabert`, `lca`, `generator`, `carbon`,
            `characters`, `tokenizer.json`, or `bert`: `dnabert` for a vocabulary of k-mers, else
            `tokenizer.json`.
        num_rows: Rows of the model's embedding (`vocab_size` of `config.json`), so that no id is
            beyond it.
        settings: Settings that the files lack; see the function of the rule.

    Raises:
        CheckpointError: A file is missing, damaged, or not understood; the message names it.
    """
    rule = _rule_of(folder, rule, has_settings=bool(settings))
    function, file = _RULES[rule]
    path = folder / file
    try:
        tokenizer = function(folder, num_rows, **settings)
        check_rows(tokenizer.tokens, num_rows)
    except OSError as failure:
        raise CheckpointError(
            f"`{failure.filename or path}` cannot be read: {failure.strerror or failure}",
            hint="the folder is incomplete; fetch the model again",
        ) from failure
    except DocumentError as failure:
        raise CheckpointError(failure.message, hint=failure.hint) from failure
    except ValueError as failure:
        raise CheckpointError(
            f"`{path}` is not a `{rule}` tokenizer: {failure}",
            hint="the file is damaged, or this model needs a port that this version does not have",
        ) from failure
    return tokenizer


def _rule_of(folder: Path, rule: str, *, has_settings: bool) -> str:
    """Return the rule of the class that a folder names, or the one of its family.

    Raises:
        CheckpointError: The class is not ported, or not with the settings of the family.
    """
    try:
        class_rule = named_rule(folder)
    except DocumentError as failure:
        raise CheckpointError(failure.message, hint=failure.hint) from failure
    if class_rule is None:
        return _bert_rule(folder) if rule == "bert" else rule
    if class_rule != rule and has_settings:
        raise CheckpointError(
            f"`{folder / CONFIG_FILE}` names a tokenizer of the rule `{class_rule}`; models of "
            f"this family have `{rule}`",
            hint="the files belong to different models; fetch the files of one commit",
        )
    return class_rule


def _bert_rule(folder: Path) -> str:
    """Return the rule of a BERT model: its layout does not tell k-mers from byte pairs.

    Folders of byte pairs may have a `vocab.txt` beside `tokenizer.json`, and folders of k-mers a
    `tokenizer.json` that needs blanks between them.
    """
    if not (folder / TOKENIZER_FILE).is_file():
        return "dnabert"
    if not (folder / VOCABULARY_FILE).is_file():
        return TOKENIZER_FILE
    try:
        _read_dnabert(folder, None)
    except (ValueError, OSError):
        return TOKENIZER_FILE
    return "dnabert"


def _read_esm(folder: Path, num_rows: int | None) -> Tokenizer:
    """Read greedy k-mers from `vocab.txt`.

    `<cls>` stands before a sequence. `<eos>` stands after it only if the files do not set it to
    null, the vocabulary has it, and the model has an embedding for it. The first Nucleotide
    Transformers have none: their vocabularies lack it, or list it beyond the embedding, and a class
    of the Hugging Face library adds it all the same.
    """
    tokens = read_vocabulary_file(folder / VOCABULARY_FILE)
    roles = {**_ESM, **read_roles(folder)}
    beyond = tokens[num_rows:] if num_rows is not None else ()
    if all(token.startswith("<") for token in beyond):
        tokens = tokens[: len(tokens) - len(beyond)]
    last = roles["eos"]
    special = SpecialTokens(
        pad=_required(roles, "pad"),
        unknown=roles["unk"],
        mask=roles["mask"],
        prefix=(_required(roles, "cls"),),
        suffix=(last,) if last is not None and last in tokens else (),
    )
    return GreedyKmerTokenizer(Vocabulary(tokens=tokens, special=special))


def _read_dnabert(folder: Path, num_rows: int | None) -> Tokenizer:
    """Read overlapping k-mers from `vocab.txt`; the caller writes no blanks between them.

    A k-mer with an N is `[UNK]`, as for the authors' code.
    """
    del num_rows
    vocabulary = _bert_vocabulary(folder)
    return WindowTokenizer(vocabulary, k=_word_length(vocabulary), stride=1)


def _read_lca(
    folder: Path, num_rows: int | None, *, k: int | None = None, shift: int | None = None
) -> Tokenizer:
    """Read the k-mers of ProkBERT from `vocab.txt`.

    Args:
        folder: Folder with the authors' files.
        num_rows: Rows of the model's embedding.
        k: Number of bases per token, if `tokenizer_config.json` does not give `kmer`.
        shift: Distance between tokens, if `tokenizer_config.json` does not give `shift`.
    """
    del num_rows
    vocabulary = _bert_vocabulary(folder)
    config = read_optional(folder / CONFIG_FILE)
    k = _number(config, "kmer", k if k is not None else _word_length(vocabulary))
    return WindowTokenizer(vocabulary, k=k, stride=_number(config, "shift", shift))


def _read_generator(folder: Path, num_rows: int | None) -> Tokenizer:
    """Read the k-mers of GENERator from `vocab.txt`.

    The authors' class puts `<s>` before a sequence and `</s>` after it, unless the files set
    `add_bos_token` or `add_eos_token` to false. The bases after the last k-mer are one `<oov>`.
    """
    del num_rows
    tokens = _without_ids(read_vocabulary_file(folder / VOCABULARY_FILE))
    config = read_optional(folder / CONFIG_FILE)
    special = SpecialTokens(
        pad="<pad>",
        unknown="<oov>",
        mask="<mask>",
        prefix=("<s>",) if config.get("add_bos_token", True) else (),
        suffix=("</s>",) if config.get("add_eos_token", True) else (),
    )
    vocabulary = Vocabulary(tokens=tokens, special=special)
    k = _number(config, "k", _word_length(vocabulary))
    return WindowTokenizer(vocabulary, k=k, stride=k, rest="unknown")


def _without_ids(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Return the tokens of lines `token` or, in newer folders, `token id`.

    Raises:
        ValueError: The ids are not 0, 1, 2, ... in the order of the lines.
    """
    fields = [line.split() for line in lines]
    if not any(len(row) == 2 for row in fields):
        return lines
    if [row[1:] for row in fields] != [[str(number)] for number in range(len(fields))]:
        raise ValueError("its ids are not 0, 1, 2, ... in the order of the lines")
    return tuple(row[0] for row in fields)


def _read_carbon(folder: Path, num_rows: int | None) -> Tokenizer:
    """Build the DNA part of the tokenizer of Carbon, whose vocabulary is code.

    `<dna>` before a sequence selects k-mers; tokens of text have no part in a sequence, so that
    their names are not read. `dna_config.json` gives their number.

    Args:
        folder: Folder with the authors' files.
        num_rows: Rows of the model's embedding, which are the ids of the vocabulary.
    """
    config = read_optional(folder / _CARBON_FILE)
    k = _number(config, "k", _CARBON_K, file=_CARBON_FILE)
    num_texts = _number(config, "dna_start_id", _CARBON_TEXTS, file=_CARBON_FILE)
    if not 1 <= k <= _MAX_WORD or not 1 <= num_texts < MAX_TOKENS:
        raise ValueError(f"invalid numbers of {k} bases per token, or {num_texts} tokens of text")
    kmers = ["".join(letters) for letters in product("ATCG", repeat=k)]
    texts = [f"<text {number}>" for number in range(num_texts)]
    tokens = [*texts, "<dna>", "</dna>", "<oov>", *kmers]
    size = -(-len(tokens) // 128) * 128 if num_rows is None else num_rows
    if not len(tokens) <= size <= MAX_TOKENS:
        raise ValueError(f"{len(tokens):,} tokens, but the model has embeddings of {size:,}")
    tokens += [f"<unused {number}>" for number in range(size - len(tokens))]
    # Padding is hidden from every model, so that any token of text can stand for it.
    special = SpecialTokens(pad=texts[-1], unknown="<oov>", prefix=("<dna>",))
    vocabulary = Vocabulary(tokens=tuple(tokens), special=special)
    return WindowTokenizer(vocabulary, k=k, stride=k, rest="pad")


def _read_characters(folder: Path, num_rows: int | None, *, letters: str = "ACGTN") -> Tokenizer:
    """Build the tokenizer of HyenaDNA and Caduceus, whose vocabulary is code.

    Args:
        folder: Not read: the authors' class lists the tokens.
        num_rows: Rows of the model's embedding.
        letters: Letters of the vocabulary, in the order of their ids.
    """
    del folder, num_rows
    special_tokens = ("[CLS]", "[SEP]", "[BOS]", "[MASK]", "[PAD]", "[RESERVED]", "[UNK]")
    special = SpecialTokens(pad="[PAD]", unknown="[UNK]", mask="[MASK]", suffix=("[SEP]",))
    vocabulary = Vocabulary(tokens=(*special_tokens, *letters), special=special)
    return WindowTokenizer(vocabulary, k=1, stride=1)


def _read_json(
    folder: Path,
    num_rows: int | None,
    *,
    prefix: tuple[str, ...] | None = None,
    suffix: tuple[str, ...] | None = None,
    pad: str | None = None,
) -> Tokenizer:
    """Read a `tokenizer.json`.

    Args:
        folder: Folder with the authors' files.
        num_rows: Rows of the model's embedding.
        prefix: Tokens before a sequence, instead of those of the post-processor.
        suffix: Tokens after a sequence, instead of those of the post-processor.
        pad: Padding, if the files do not name it.
    """
    del num_rows
    document: dict[str, Any] = read_json(folder / TOKENIZER_FILE, max_bytes=MAX_FILE_BYTES)
    plain = parse(without_limits(document))
    # The library would give a token that the vocabulary lacks an id beyond the embedding.
    roles = {
        role: token if token is not None and plain.token_to_id(token) is not None else None
        for role, token in read_roles(folder).items()
    }
    before, after = frame_of(plain)
    config = read_optional(folder / CONFIG_FILE)
    if prefix is None or suffix is None:
        _check_frame(config, roles, before, after)
    model = document["model"]
    unknown = roles.get("unk") or model.get("unk_token")
    if model["type"] == "Unigram" and isinstance(model.get("unk_id"), int):
        unknown = unknown or plain.id_to_token(model["unk_id"])
    padding = document.get("padding")
    pad_token = padding.get("pad_token") if isinstance(padding, dict) else None
    if not isinstance(pad_token, str) or plain.token_to_id(pad_token) is None:
        pad_token = None
    # Padding is hidden from every model, so that any token can stand for it.
    pad = (
        pad or roles.get("pad") or pad_token or roles.get("eos") or unknown or plain.id_to_token(0)
    )
    special = SpecialTokens(
        pad=str(pad),
        unknown=unknown,
        mask=roles.get("mask"),
        prefix=before if prefix is None else prefix,
        suffix=after if suffix is None else suffix,
    )
    return TrainedTokenizer(document, special)


def _check_frame(
    config: Mapping[str, Any],
    roles: Mapping[str, str | None],
    before: tuple[str, ...],
    after: tuple[str, ...],
) -> None:
    """Refuse files that contradict each other about the tokens around a sequence.

    Raises:
        ValueError: `add_bos_token` or `add_eos_token` says otherwise than the post-processor.
    """
    for key, role, tokens in (
        ("add_bos_token", "bos", before),
        ("add_eos_token", "eos", after),
    ):
        if key in config and bool(config[key]) != (roles.get(role) in tokens):
            raise ValueError(f"`post_processor` contradicts `{key}` of `{CONFIG_FILE}`")


def _bert_vocabulary(folder: Path) -> Vocabulary:
    tokens = read_vocabulary_file(folder / VOCABULARY_FILE)
    roles = {**_BERT, **read_roles(folder)}
    special = SpecialTokens(
        pad=_required(roles, "pad"),
        unknown=_required(roles, "unk"),
        mask=roles["mask"],
        prefix=(_required(roles, "cls"),),
        suffix=(_required(roles, "sep"),),
    )
    return Vocabulary(tokens=tokens, special=special)


def _required(roles: Mapping[str, str | None], role: str) -> str:
    token = roles.get(role)
    if token is None:
        raise ValueError(f"no `{role}_token`")
    return token


def _word_length(vocabulary: Vocabulary) -> int:
    """Return the length of the longest k-mer."""
    k = max(map(len, vocabulary.kmers), default=0)
    if not 1 <= k <= _MAX_WORD:
        raise ValueError(f"k-mers of {k} bases; 1 to {_MAX_WORD} are possible")
    return k


def _number(
    config: Mapping[str, Any], key: str, otherwise: int | None, *, file: str = CONFIG_FILE
) -> int:
    value = config.get(key, otherwise)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"`{file}` has no whole number `{key}`")
    return value


_RULES: dict[str, tuple[Callable[..., Tokenizer], str]] = {
    "esm": (_read_esm, VOCABULARY_FILE),
    "dnabert": (_read_dnabert, VOCABULARY_FILE),
    "lca": (_read_lca, VOCABULARY_FILE),
    "generator": (_read_generator, VOCABULARY_FILE),
    "carbon": (_read_carbon, _CARBON_FILE),
    "characters": (_read_characters, CONFIG_FILE),
    "tokenizer.json": (_read_json, TOKENIZER_FILE),
}
