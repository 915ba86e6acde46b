"""Contract of all tokenizers of other authors."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from hypothesis import example, given
from tokenizers import Tokenizer as HuggingFaceTokenizer
from transformers import PreTrainedTokenizerFast

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.sequence import Codes, encode_bases, reverse_complement
from genomeformer_cli.core.tokenizers.files import TOKENIZER_FILE, load_tokenizer, save_tokenizer
from genomeformer_cli.core.tokenizers.protocol import Ids, Tokenizer, vocabulary_sha256
from tests.published_tokenizers import LAYOUTS, read
from tests.strategies import dna, plain_bases, repeatable

every_layout = pytest.mark.parametrize("name", LAYOUTS)
# Rules that shorten, lengthen or drop bases after the last window; `decode` cannot return them.
INEXACT = ("lca", "dnabert", "generator", "carbon")


@lru_cache
def tokenizer_of(name: str) -> Tokenizer:
    return read(name, Path(mkdtemp()))


@lru_cache
def saved_folder(name: str) -> Path:
    folder = Path(mkdtemp())
    save_tokenizer(tokenizer_of(name), folder)
    return folder


@lru_cache
def other_tool(name: str) -> HuggingFaceTokenizer:
    return HuggingFaceTokenizer.from_file(str(saved_folder(name) / TOKENIZER_FILE))


def framed(tokenizer: Tokenizer, ids: Ids) -> list[int]:
    return [*tokenizer.prefix_ids, *ids.tolist(), *tokenizer.suffix_ids]


@every_layout
@repeatable
@given(sequence=dna)
@example(sequence="")
@example(sequence="acgtuN")
@example(sequence="N" * 30)
@example(sequence="ACGTACGTACGTNNNNNNNNNNNNNNNNacgtacgtacgtaN")
def test_tokens_cover_all_bases_in_order(name: str, sequence: str) -> None:
    tokenizer = tokenizer_of(name)
    codes, bases = encode_bases(sequence), plain_bases(sequence)
    ids, offsets = tokenizer.encode(codes), tokenizer.offsets(codes)
    assert ids.dtype == tokenizer.dtype
    assert offsets.dtype == np.int64
    assert offsets.shape == (ids.size, 2)
    assert (tokenizer.firsts(codes, ids) == offsets[:, 0]).all()
    assert (np.diff(offsets[:, 0]) >= 0).all()
    covered = {place for start, stop in offsets for place in range(start, stop)}
    assert covered == set(range(len(bases)))
    for number, (start, stop) in zip(ids, offsets, strict=True):
        spelled = tokenizer.bases[number]
        if stop - start == len(spelled):
            assert bases[start:stop] == spelled
        if tokenizer.is_real[number]:
            assert spelled.startswith(bases[start:stop][: len(spelled)])


@every_layout
@repeatable
@given(sequence=dna)
def test_letters_follow_the_rule_of_the_package(name: str, sequence: str) -> None:
    tokenizer = tokenizer_of(name)
    ids = tokenizer.encode(encode_bases(sequence))
    assert (tokenizer.encode(encode_bases(plain_bases(sequence))) == ids).all()
    assert (tokenizer.encode(encode_bases(sequence.swapcase())) == ids).all()


@every_layout
@repeatable
@given(sequence=dna)
@example(sequence="")
@example(sequence="ACGT" * 30)
def test_other_tools_give_the_ids_of_a_saved_tokenizer(name: str, sequence: str) -> None:
    tokenizer = tokenizer_of(name)
    ids = tokenizer.encode(encode_bases(sequence))
    text = plain_bases(sequence) if tokenizer.kind == "huggingface" else sequence
    assert other_tool(name).encode(text, add_special_tokens=False).ids == ids.tolist()
    if tokenizer.kind != "huggingface":
        assert other_tool(name).encode(text).ids == framed(tokenizer, ids)


@every_layout
def test_decoding_returns_the_bases(name: str) -> None:
    tokenizer = tokenizer_of(name)
    generator = np.random.default_rng(1)
    for size in (1, 2, 3, 6, 12, 60, 600, 606):
        sequence = "".join(generator.choice(list("ACGT"), size))
        ids = tokenizer.encode(encode_bases(sequence))
        decoded = tokenizer.decode(ids)
        exact = not name.startswith(INEXACT) or size % 6 == 0
        assert (decoded == sequence) == exact or (not exact and len(decoded) <= size + 6)
        if exact:
            special = [*tokenizer.prefix_ids, *tokenizer.suffix_ids, tokenizer.pad_id]
            row = np.array([*special, *ids, *special, *ids], dtype=ids.dtype)
            assert tokenizer.decode(row) == sequence * 2


@every_layout
def test_ids_are_within_the_vocabulary_and_roles_are_outside_the_sequence(name: str) -> None:
    tokenizer = tokenizer_of(name)
    ids = tokenizer.encode(np.random.default_rng(0).integers(0, 5, 5000).astype(np.uint8))
    assert int(ids.max()) < len(tokenizer.tokens)
    frame = {*tokenizer.prefix_ids, *tokenizer.suffix_ids, tokenizer.pad_id, tokenizer.mask_id}
    assert not frame & set(ids.tolist())
    assert not any(tokenizer.is_real[number] for number in frame if number is not None)
    assert tokenizer.is_real.shape == (len(tokenizer.tokens),)
    real = [bool(bases) and set(bases) <= set("ACGT") for bases in tokenizer.bases]
    assert tokenizer.is_real.tolist() == real
    if tokenizer.base_ids is not None:
        assert [tokenizer.bases[number] for number in tokenizer.base_ids] == list("ACGT")


@every_layout
@repeatable
@given(sequence=dna)
def test_the_other_strand_of_ids_is_that_of_the_bases(name: str, sequence: str) -> None:
    tokenizer = tokenizer_of(name)
    ids = tokenizer.encode(encode_bases(sequence))
    if not tokenizer.reads_both_strands:
        with pytest.raises(ConfigError, match="no reverse complement"):
            tokenizer.reverse_complement(ids)
        return
    strand = tokenizer.reverse_complement(ids)
    assert (strand == tokenizer.encode(encode_bases(reverse_complement(sequence)))).all()
    assert (tokenizer.reverse_complement(strand) == ids).all()


@every_layout
def test_a_record_in_blocks_has_the_tokens_of_the_whole(name: str) -> None:
    tokenizer = tokenizer_of(name)
    codes = np.random.default_rng(2).integers(0, 4, 3000).astype(np.uint8)
    codes[1000:1013] = codes[2000] = 4
    pieces, rest = [], codes[:0]
    for start in range(0, codes.size, 170):
        rest = np.concatenate([rest, codes[start : start + 170]])
        stop, resume = tokenizer.stable_prefix(rest)
        pieces.append(tokenizer.encode(rest[:stop]))
        rest = rest[resume:]
    pieces.append(tokenizer.encode(rest))
    assert (np.concatenate(pieces) == tokenizer.encode(codes)).all()


@every_layout
def test_a_saved_tokenizer_is_loaded_unchanged(name: str) -> None:
    tokenizer, loaded = tokenizer_of(name), load_tokenizer(saved_folder(name))
    for attribute in ("kind", "settings", "tokens", "bases", "rules", "dtype", "pad_id", "mask_id"):
        assert getattr(loaded, attribute) == getattr(tokenizer, attribute), attribute
    for attribute in ("prefix_ids", "suffix_ids", "base_ids", "one_token_per_base"):
        assert getattr(loaded, attribute) == getattr(tokenizer, attribute), attribute
    assert vocabulary_sha256(loaded) == vocabulary_sha256(tokenizer)
    codes = np.random.default_rng(3).integers(0, 5, 2000).astype(np.uint8)
    assert (loaded.encode(codes) == tokenizer.encode(codes)).all()
    theirs = PreTrainedTokenizerFast.from_pretrained(str(saved_folder(name)))
    assert theirs.pad_token_id == tokenizer.pad_id


def test_no_two_vocabularies_have_one_identity() -> None:
    assert len({vocabulary_sha256(tokenizer_of(name)) for name in LAYOUTS}) == len(LAYOUTS)


@every_layout
def test_one_token_per_base_holds_for_all_sequences(name: str) -> None:
    tokenizer = tokenizer_of(name)
    codes: Codes = encode_bases("ACGTTGCAAACCGGNN" * 9)
    spans = np.diff(tokenizer.offsets(codes), axis=1)
    assert tokenizer.one_token_per_base == bool((spans == 1).all())
