"""Strategies of hypothesis: DNA as people write it, and records of it."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

from genomeformer_cli.core.formats.fasta import Record

UPPER = "ACGTUNRYSWKMBDHVX"
ANY_CASE = UPPER + UPPER.lower()

# The same examples every time, on machines of any speed; as many as the profile says.
repeatable = settings(deadline=None, derandomize=True, database=None)

dna = st.text(alphabet=ANY_CASE, max_size=200)
"""Any nucleotide codes, lower case, U and ambiguity among them."""


def records(max_records: int = 6, max_length: int = 60) -> st.SearchStrategy[list[Record]]:
    """Records with ids of their own; some are empty."""
    sequences = st.lists(st.text(alphabet=ANY_CASE, max_size=max_length), max_size=max_records)
    return sequences.map(
        lambda drawn: [Record(f"record{n}", "", text) for n, text in enumerate(drawn)]
    )


def plain_bases(sequence: str) -> str:
    """The stated rule in its plainest form: upper case, U is T, every other code is N."""
    upper = sequence.upper().replace("U", "T")
    return "".join(letter if letter in "ACGT" else "N" for letter in upper)
