"""Nucleotide alphabet: codes of letters, soft mask, reverse complement.

The package uses a single rule:

| character                        | meaning                                     |
|----------------------------------|---------------------------------------------|
| `A C G T` and `U`                | the base (`U` is `T`)                       |
| `N R Y S W K M B D H V`          | `N`, an unknown base                        |
| `X`                              | `N`, as masked by cross_match, RepeatMasker |
| lower case                       | the base in upper case, soft-masked         |
| anything else                    | an error with the position                  |
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.errors import AlphabetError

BASES = "ACGTN"
NUM_REAL_BASES = 4
SOFT_BIT = 8
URACIL_BIT, AMBIGUOUS_BIT, MASKED_BIT = 16, 32, 64
AMBIGUITY_CODES = "NRYSWKMBDHV"
MASK_LETTER = "X"
ILLEGAL = 255

Codes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]


def _code_table() -> Codes:
    table = np.full(256, ILLEGAL, dtype=np.uint8)
    for letters, code in (
        ("A", 0),
        ("C", 1),
        ("G", 2),
        ("TU", 3),
        (AMBIGUITY_CODES + MASK_LETTER, 4),
    ):
        for letter in letters:
            table[ord(letter)] = table[ord(letter.lower())] = code
    return table


def _marked_table() -> Codes:
    table = _code_table()
    lower = slice(ord("a"), ord("z") + 1)
    table[lower] |= SOFT_BIT
    return table


def _flagged_table() -> Codes:
    table = _marked_table()
    flags = (("U", URACIL_BIT), (AMBIGUITY_CODES[1:], AMBIGUOUS_BIT), (MASK_LETTER, MASKED_BIT))
    for letters, bit in flags:
        for letter in letters + letters.lower():
            table[ord(letter)] |= bit
    return table


_CODES = _code_table()
_CODE_BYTES = _CODES.tobytes()
_FLAGGED_BYTES = _flagged_table().tobytes()
_ILLEGAL_BYTE = bytes([ILLEGAL])
_COMPLEMENT_CODES = np.array([3, 2, 1, 0, 4], dtype=np.uint8)
_COMPLEMENT_LETTERS = str.maketrans(
    "ACGTURYSWKMBDHVNacgturyswkmbdhvn", "TGCAAYRSWMKVHDBNtgcaayrswmkvhdbn"
)


def encode_bases(sequence: str | bytes, *, where: str = "sequence") -> Codes:
    """Return the codes of a sequence: A C G T N are 0 1 2 3 4.

    Args:
        sequence: Nucleotide letters, any case.
        where: Place named in the error, e.g. `genome.fa: record 'chr1'`.

    Returns:
        uint8 array with one code per base.

    Raises:
        AlphabetError: A character is not a nucleotide code; the message gives its 1-based position.
    """
    raw = sequence.encode("utf-8") if isinstance(sequence, str) else sequence
    codes = np.frombuffer(raw.translate(_CODE_BYTES), dtype=np.uint8)
    if codes.size and codes.max() == ILLEGAL:
        raise _illegal_character(raw, codes, where)
    return codes


def are_bases(text: str) -> bool:
    """Return True for one or more letters that `encode_bases` accepts."""
    codes = text.encode("utf-8", errors="replace").translate(_CODE_BYTES)
    return bool(codes) and _ILLEGAL_BYTE not in codes


def flag_bases(lines: bytes, *, where: str = "sequence", before: int = 0) -> bytes:
    """Return the codes of the letters of lines, with marks, without line ends.

    A single pass replaces `encode_bases` and `soft_mask`. Marks: `SOFT_BIT` for lower case,
    `URACIL_BIT` for U read as T, `AMBIGUOUS_BIT` for an IUPAC code and `MASKED_BIT` for an X read
    as N.

    Args:
        lines: Nucleotide letters and line ends.
        where: Place named in the error.
        before: Number of preceding letters of the record, for the position in the error.

    Raises:
        AlphabetError: A character is not a nucleotide code.
    """
    flagged = lines.translate(_FLAGGED_BYTES, b"\r\n")
    if _ILLEGAL_BYTE in flagged:
        raw = lines.translate(None, b"\r\n")
        raise _illegal_character(raw, np.frombuffer(flagged, dtype=np.uint8), where, before)
    return flagged


def _illegal_character(raw: bytes, codes: Codes, where: str, before: int = 0) -> AlphabetError:
    position = int(np.argmax(codes == ILLEGAL))
    letter = raw[position : position + 4].decode("utf-8", errors="replace")[:1]
    hint = "only nucleotide codes are understood: A C G T U N and the IUPAC ambiguity codes"
    sign = " " if letter.isspace() else letter.upper()
    reason = next((reason for letters, reason in _REASONS if sign in letters), "")
    letter_text = letter if letter.isprintable() else f"U+{ord(letter):04X}"
    return AlphabetError(
        f"{where}: `{letter_text}` at position {before + position + 1} is not a nucleotide",
        hint=f"{reason}; {hint}" if reason else hint,
    )


_REASONS = (
    ("EFIJLOPQZ*", "this looks like protein"),
    ("-.", "this looks like an alignment, remove its gaps"),
    (
        "0123456789 \N{ZERO WIDTH SPACE}\N{ZERO WIDTH NO-BREAK SPACE}",
        "numbers and blanks inside a sequence must go, as in `sed '/^>/!s/[0-9[:space:]]//g' FILE`",
    ),
    ("@+", "this looks like lines of FASTQ, in a file that does not start with `@`"),
    (">", "a header starts with `>` at the very start of its line"),
)


def soft_mask(sequence: str | bytes) -> Flags:
    """Return True for lower-case bases (soft-masked: repeats and low complexity)."""
    raw = sequence.encode("ascii") if isinstance(sequence, str) else sequence
    is_lower: Flags = (np.frombuffer(raw, dtype=np.uint8) & 0x20) != 0
    return is_lower


def decode_bases(codes: Codes) -> str:
    """Return the letters of codes, the inverse of `encode_bases` up to case, U and IUPAC codes."""
    letters = np.frombuffer(BASES.encode("ascii"), dtype=np.uint8)
    return letters[codes].tobytes().decode("ascii")


def reverse_complement(sequence: str) -> str:
    """Return the reverse complement: IUPAC codes complemented, case kept, `U` becomes `A`."""
    return sequence.translate(_COMPLEMENT_LETTERS)[::-1]


def reverse_complement_codes(codes: Codes) -> Codes:
    """Return the reverse complement of base codes (N stays N)."""
    return _COMPLEMENT_CODES[codes[::-1]]
