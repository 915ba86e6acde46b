"""Show the tokens of a sequence: tokens, ids, offsets, and the treatment of letters.

Long records are cut before they are tokenized. A piece more than shown is tokenized, so that the
cut does not affect the tokens shown: no rule of ours looks further ahead, and merges of other
authors' byte pairs rarely do.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from genomeformer_cli.core.errors import (
    AlphabetError,
    ConfigError,
    InputError,
    NotInCacheError,
    UsageError,
)
from genomeformer_cli.core.formats.fasta import Record
from genomeformer_cli.core.formats.text import STDIN, local_copy
from genomeformer_cli.core.genomes.peek import Peek, peek_records
from genomeformer_cli.core.proposals import propose
from genomeformer_cli.core.sequence import (
    AMBIGUITY_CODES,
    MASK_LETTER,
    NUM_REAL_BASES,
    are_bases,
    encode_bases,
)
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.store.seal import SEAL, check_seal
from genomeformer_cli.core.tokenizers.bpe import PIECE, BpeTokenizer
from genomeformer_cli.core.tokenizers.files import (
    TOKENIZER_FILE,
    build_tokenizer,
    load_tokenizer,
    tokenizer_names,
)
from genomeformer_cli.core.tokenizers.protocol import Ids, Offsets, Tokenizer

DEFAULT_LIMIT = 500
LITERAL_ID = "sequence"


@dataclass(frozen=True, kw_only=True)
class InspectRequest:
    """Request to show tokens."""

    source: str  # DNA; a FASTA or FASTQ file, plain or gzip; or `-` for standard input.
    tokenizer: str | None = None  # Kind; None: that of the vocabulary or corpus, or `char`.
    settings: dict[str, Any] = field(default_factory=dict)  # Settings of the tokenizer.
    vocabulary: str | None = None  # Vocabulary in the cache, or folder of a tokenizer.
    corpus: str | None = None  # Corpus in the cache, whose tokenizer is used.
    limit: int = DEFAULT_LIMIT  # Number of bases to show; each record counts as one at least.


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """Counts of letters of a record that were changed."""

    num_lower_case: int  # Lower-case letters read as upper case.
    num_uracil: int  # U read as T.
    num_unknown: int  # N.
    unknown: tuple[tuple[str, int], ...]  # Tokens over N and ambiguity codes, with their ids.
    is_unknown_alone: bool  # True if none of these tokens covers another base.
    ambiguous: dict[str, int]  # Counts of ambiguity codes read as N.
    num_spelled: int  # Bases A C G T with a token of their own among longer tokens.


@dataclass(frozen=True, kw_only=True)
class InspectedRecord:
    """Record and its tokens."""

    id: str  # First word of the header; `sequence` for DNA on the command line.
    description: str  # Rest of the header.
    sequence: str  # Shown letters, unchanged.
    complete: bool  # True if the whole record is shown.
    tokens: tuple[str, ...]
    ids: tuple[int, ...]  # Token ids.
    offsets: tuple[tuple[int, int], ...]  # Start and end of each token, in bases.
    treatment: Treatment  # Counts of changed letters.


@dataclass(frozen=True, kw_only=True)
class InspectResult:
    """Tokens of sequences."""

    tokenizer: str  # Kind of tokenizer.
    settings: dict[str, Any]  # Settings of the tokenizer.
    vocabulary_size: int  # Number of tokens, special ones included.
    records: tuple[InspectedRecord, ...]  # First records.
    complete: bool  # True if all records are shown entirely.


def inspect_sequences(request: InspectRequest, *, store: Store | None = None) -> InspectResult:
    """Tokenize the beginning of the source.

    Raises:
        UsageError: The request names no tokenizer, or two.
        NotInCacheError: The vocabulary or corpus is unknown.
        FastaError, AlphabetError: The input is invalid.
    """
    tokenizer = _tokenizer(request, store or Store())
    peek, display_name = _records(request)
    records: list[InspectedRecord] = []
    num_letters = request.limit
    for number, record in enumerate(peek.records):
        if num_letters <= 0:
            break
        whole = peek.last_is_whole or number < len(peek.records) - 1
        records.append(_inspected(record, tokenizer, display_name, whole=whole, most=num_letters))
        num_letters -= max(len(records[-1].sequence), 1)
    complete = peek.whole and len(records) == len(peek.records) and records[-1].complete
    return InspectResult(
        tokenizer=tokenizer.kind,
        settings=tokenizer.settings,
        vocabulary_size=len(tokenizer.tokens),
        records=tuple(records),
        complete=complete,
    )


def _inspected(
    record: Record, tokenizer: Tokenizer, display_name: str, *, whole: bool, most: int
) -> InspectedRecord:
    where = f"{display_name}: record `{record.id}`" if display_name else "what was given"
    letters = record.sequence[: most + PIECE]
    codes = encode_bases(letters, where=where)
    ids, offsets = tokenizer.encode(codes), tokenizer.offsets(codes)
    num_tokens = int(np.searchsorted(offsets[:, 0], most)) if len(record.sequence) > most else None
    ids, offsets = ids[:num_tokens], offsets[:num_tokens]
    end = int(offsets[-1, 1]) if offsets.size else 0
    sequence = letters[:end]
    return InspectedRecord(
        id=record.id,
        description=record.description,
        sequence=sequence,
        complete=whole and end == len(record.sequence),
        tokens=tuple(tokenizer.tokens[number] for number in ids.tolist()),
        ids=tuple(ids.tolist()),
        offsets=tuple((start, stop) for start, stop in offsets.tolist()),
        treatment=_treatment(sequence, tokenizer, ids, offsets),
    )


def _treatment(sequence: str, tokenizer: Tokenizer, ids: Ids, offsets: Offsets) -> Treatment:
    upper = Counter(sequence.upper())
    letters = (AMBIGUITY_CODES + MASK_LETTER).replace("N", "")
    num_before = np.append(0, np.cumsum(encode_bases(sequence) >= NUM_REAL_BASES))
    sizes = offsets[:, 1] - offsets[:, 0]
    num_unknown = num_before[offsets[:, 1]] - num_before[offsets[:, 0]]
    names = dict.fromkeys(ids[num_unknown > 0].tolist())
    num_spelled = int(np.count_nonzero(tokenizer.is_real[ids] & (sizes == 1)))
    return Treatment(
        num_lower_case=sum(letter.islower() for letter in sequence),
        num_uracil=upper["U"],
        num_unknown=upper["N"],
        unknown=tuple((tokenizer.tokens[number], number) for number in names),
        is_unknown_alone=bool((sizes[num_unknown > 0] == 1).all()),
        ambiguous={letter: upper[letter] for letter in letters if upper[letter]},
        num_spelled=0 if tokenizer.one_token_per_base else num_spelled,
    )


def _records(request: InspectRequest) -> tuple[Peek, str]:
    """Return the first records, and the name of the file in messages, if there is one."""
    source = request.source
    letters = "".join(source.split())
    if not letters:
        raise InputError(
            "there is nothing to inspect", hint="give DNA, a FASTA file, or `-` for stdin"
        )
    if source == STDIN or (not are_bases(letters) and _is_path(source)):
        with local_copy(source, command="tokenize --inspect -") as (path, display_name):
            return peek_records(
                path, request.limit + PIECE, display_name=display_name
            ), f"`{display_name}`"
    try:
        encode_bases(letters, where="what was given")
    except AlphabetError as failure:
        raise AlphabetError(
            f"{failure.message}, and no file has that name", hint=failure.hint
        ) from failure
    record = Record(LITERAL_ID, "", letters)
    return Peek(records=(record,), whole=True, last_is_whole=True), ""


def _is_path(source: str) -> bool:
    """Return True if a word that is not DNA names a file, present or not."""
    try:
        return Path(source).exists() or re.search(r"[/\\.]", source) is not None
    except OSError:  # too long to be one
        return False


def _tokenizer(request: InspectRequest, store: Store) -> Tokenizer:
    if request.vocabulary is not None and request.corpus is not None:
        raise UsageError(
            "`--vocabulary` and `--name` both name a tokenizer", hint="leave one of them out"
        )
    if request.vocabulary is not None:
        folder = _vocabulary_folder(request.vocabulary, store)
        if (folder / SEAL).is_file():
            check_seal(folder)
        return _check_tokenizer(
            load_tokenizer(folder), request, f"the vocabulary `{request.vocabulary}`"
        )
    if request.corpus is not None:
        folder = store.entry(Kind.CORPORA, request.corpus).path
        return _check_tokenizer(load_tokenizer(folder), request, f"the corpus `{request.corpus}`")
    if request.tokenizer == BpeTokenizer.kind:
        vocabularies = _learned(store)
        listing = ", ".join(f"`{name}`" for name in vocabularies[:12])
        raise UsageError(
            "`--tokenizer bpe` needs a trained vocabulary, and none is named",
            hint=f"`--vocabulary` takes {listing} of the cache, `--name` a corpus"
            if vocabularies
            else "learn one with `genomeformer tokenize --all --tokenizer bpe --name pairs`, "
            "then add `--name pairs`",
        )
    return build_tokenizer(request.tokenizer or "char", **request.settings)


def _learned(store: Store) -> list[str]:
    names = [entry.name for entry in store.entries(Kind.VOCABULARIES)]
    return [name for name in names if name.startswith(f"{BpeTokenizer.kind}-")]


def _vocabulary_folder(vocabulary: str, store: Store) -> Path:
    if store.has(Kind.VOCABULARIES, vocabulary):
        return store.path(Kind.VOCABULARIES, vocabulary)
    folder = Path(vocabulary)
    if folder.name == TOKENIZER_FILE:
        folder = folder.parent
    if (folder / TOKENIZER_FILE).is_file():
        return folder
    listing = ", ".join(f"`{entry.name}`" for entry in store.entries(Kind.VOCABULARIES)[:12])
    raise NotInCacheError(
        f"no vocabulary `{vocabulary}`: neither a name in the cache nor a folder with "
        f"`{TOKENIZER_FILE}`",
        hint=propose(
            vocabulary,
            [entry.name for entry in store.entries(Kind.VOCABULARIES)],
            otherwise=f"the cache holds {listing}"
            if listing
            else "make one with `genomeformer tokenize --tokenizer bpe`",
        ),
    )


def _check_tokenizer(tokenizer: Tokenizer, request: InspectRequest, source: str) -> Tokenizer:
    """Return the tokenizer after checking it against the request."""
    kind = request.tokenizer
    if kind is not None and kind not in tokenizer_names():
        return build_tokenizer(kind)
    if kind not in (None, tokenizer.kind):
        raise ConfigError(
            f"{source} is of `{tokenizer.kind}`, not `{kind}`", hint="leave `--tokenizer` out"
        )
    for name, value in request.settings.items():
        has = tokenizer.settings.get(name)
        if has != value:
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(
                f"{source} has {f'`{option} {has}`' if has is not None else f'no `{option}`'}",
                hint=f"leave `{option}` out",
            )
    return tokenizer
