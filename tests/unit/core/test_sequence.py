"""Letters, codes and the other strand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from genomeformer_cli.core.errors import AlphabetError
from genomeformer_cli.core.sequence import (
    AMBIGUITY_CODES,
    are_bases,
    decode_bases,
    encode_bases,
    reverse_complement,
    reverse_complement_codes,
    soft_mask,
)
from tests.strategies import ANY_CASE, dna, plain_bases, repeatable

# Which bases each code stands for (NC-IUB 1984), written out independently of the package.
MEANING = {
    "A": "A",
    "C": "C",
    "G": "G",
    "T": "T",
    "R": "AG",
    "Y": "CT",
    "S": "CG",
    "W": "AT",
    "K": "GT",
    "M": "AC",
    "B": "CGT",
    "D": "AGT",
    "H": "ACT",
    "V": "ACG",
    "N": "ACGT",
}
PAIRS = {"A": "T", "C": "G", "G": "C", "T": "A"}


@pytest.mark.parametrize(
    ("letters", "code"), [("Aa", 0), ("Cc", 1), ("Gg", 2), ("TtUu", 3), (AMBIGUITY_CODES, 4)]
)
def test_letters_have_their_codes(letters: str, code: int) -> None:
    assert encode_bases(letters).tolist() == [code] * len(letters)
    assert encode_bases(letters.lower()).tolist() == [code] * len(letters)


def test_exactly_the_nucleotide_codes_are_legal() -> None:
    for byte in range(256):
        letter = bytes([byte])
        if letter.decode("latin-1") in ANY_CASE:
            encode_bases(letter)
            continue
        with pytest.raises(AlphabetError):
            encode_bases(letter)


@pytest.mark.parametrize("blank", ["\N{NO-BREAK SPACE}", "\N{ZERO WIDTH SPACE}", "\ufeff", "\v"])
def test_blanks_that_cannot_be_seen_are_named(blank: str) -> None:
    with pytest.raises(AlphabetError, match=rf"`U\+{ord(blank):04X}` at position 3") as caught:
        encode_bases(f"AC{blank}GT")
    assert "numbers and blanks" in str(caught.value.hint)


@repeatable
@given(st.text() | dna)
@example("")
@example("acgtx")
@example("\N{KELVIN SIGN}")
@example("\N{LATIN SMALL LETTER LONG S}")
@example("\ud800")
def test_bases_are_what_encoding_reads(text: str) -> None:
    try:
        is_read = bool(encode_bases(text.encode("utf-8", errors="replace")).size)
    except AlphabetError:
        is_read = False
    assert are_bases(text) == is_read


@repeatable
@given(dna)
def test_decoding_returns_the_bases_up_to_case_u_and_ambiguity(sequence: str) -> None:
    codes = encode_bases(sequence)
    assert codes.dtype == np.uint8
    assert decode_bases(codes) == plain_bases(sequence)


@repeatable
@given(dna)
def test_text_and_bytes_are_one(sequence: str) -> None:
    assert (encode_bases(sequence) == encode_bases(sequence.encode())).all()
    assert (soft_mask(sequence) == soft_mask(sequence.encode())).all()


@repeatable
@given(dna)
def test_the_soft_mask_is_lower_case(sequence: str) -> None:
    assert soft_mask(sequence).tolist() == [letter.islower() for letter in sequence]


@repeatable
@given(dna)
def test_the_reverse_complement_of_the_reverse_complement_is_the_sequence(sequence: str) -> None:
    dna_only = sequence.replace("U", "T").replace("u", "t")
    assert reverse_complement(reverse_complement(sequence)) == dna_only
    codes = encode_bases(sequence)
    assert (reverse_complement_codes(reverse_complement_codes(codes)) == codes).all()


@repeatable
@given(dna)
def test_letters_and_codes_have_the_same_other_strand(sequence: str) -> None:
    by_letters = encode_bases(reverse_complement(sequence))
    assert (by_letters == reverse_complement_codes(encode_bases(sequence))).all()


@pytest.mark.parametrize("code", MEANING)
def test_an_ambiguity_code_becomes_the_code_of_the_complements(code: str) -> None:
    other = reverse_complement(code)
    assert set(MEANING[other]) == {PAIRS[base] for base in MEANING[code]}
    assert reverse_complement(code.lower()) == other.lower()


def test_the_other_strand_reads_backwards() -> None:
    assert reverse_complement("AACGTn") == "nACGTT"
    assert reverse_complement("U") == "A"


@pytest.mark.parametrize(
    ("sequence", "letter", "position", "hint"),
    [
        ("ACGE", "E", 4, "protein"),
        ("*", "*", 1, "protein"),
        ("AC-GT", "-", 3, "gaps"),
        ("A.C", ".", 2, "gaps"),
        ("ACéGT", "é", 3, "IUPAC"),
        ("ACGT 1", " ", 5, "IUPAC"),
    ],
)
def test_the_first_illegal_character_is_named_with_its_place(
    sequence: str, letter: str, position: int, hint: str
) -> None:
    with pytest.raises(AlphabetError) as caught:
        encode_bases(sequence, where="`x.fa`: record `r`")
    assert (
        caught.value.message
        == f"`x.fa`: record `r`: `{letter}` at position {position} is not a nucleotide"
    )
    assert hint in str(caught.value.hint)


def test_nothing_encodes_to_nothing() -> None:
    assert encode_bases("").size == 0
    assert decode_bases(encode_bases("")) == ""
    assert soft_mask("").size == 0
    assert reverse_complement("") == ""
