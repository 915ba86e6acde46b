"""Sequences of FASTA or FASTQ files, or of tables with a column `sequence`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from genomeformer_cli.core.errors import FastaError
from genomeformer_cli.core.formats.labelled import SEQUENCE, is_fasta, is_missing_sequence
from genomeformer_cli.core.formats.sequences import Query, read_sequences
from genomeformer_cli.core.formats.tables import TextTable, has_column, read_table
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import encode_bases

_NO_BASES = np.empty(0, dtype=np.uint8)


def read_any_sequences(
    path: Path, *, display_name: str | None = None, reporter: Reporter | None = None
) -> Iterator[Query]:
    """Yield every record or table row in order, including those without a sequence.

    Args:
        path: FASTA, FASTQ or table, plain or compressed, detected by content.
        display_name: Name of the file in errors; the path by default.
        reporter: Receives the changes made while reading, after the last record.

    Raises:
        FormatError: The file is missing, empty, truncated, damaged, or neither FASTA nor a table.
        AlphabetError: A character is not a nucleotide code.
    """
    name = display_name or str(path)
    if is_fasta(path, name):
        yield from read_sequences(path, display_name=display_name, reporter=reporter)
        return
    if not has_column(path, SEQUENCE, display_name=name):
        try:
            yield from read_sequences(path, display_name=display_name, reporter=reporter)
        except FastaError as failure:
            raise FastaError(
                failure.message,
                hint=f"{failure.hint}; or a table whose header has a column `{SEQUENCE}`",
            ) from failure
        return
    table = read_table(path, display_name=name)
    yield from _rows(table)
    if table.num_empty and reporter is not None:
        reporter.warn(f"`{name}`: {table.num_empty:,} of {table.num_rows:,} rows are empty")


def _rows(table: TextTable) -> Iterator[Query]:
    index, id_index = table.index(SEQUENCE), table.find("id")
    for row in table.rows:
        identifier = str(row.number)
        if id_index is not None and id_index < len(row.cells):
            identifier = table.cell(row, id_index) or identifier
        letters = table.cell(row, index)
        codes = _NO_BASES
        if not is_missing_sequence(letters):
            codes = encode_bases(letters, where=table.where(row))
        yield Query(identifier, codes)
