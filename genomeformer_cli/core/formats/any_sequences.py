"""Sequences of any file: FASTA, FASTQ, GenBank, or a table with a column `sequence`.

The format is recognised by the content of the file, never by its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from genomeformer_cli.core.errors import FastaError
from genomeformer_cli.core.formats.genbank import is_genbank
from genomeformer_cli.core.formats.genbank_sequences import genbank_sequences
from genomeformer_cli.core.formats.labelled import SEQUENCE, is_fasta, is_missing_sequence
from genomeformer_cli.core.formats.parquet import is_parquet, parquet_rows
from genomeformer_cli.core.formats.sequences import Query, read_sequences
from genomeformer_cli.core.formats.tables import TextTable, has_column, read_table
from genomeformer_cli.core.formats.text import NamedFile
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import encode_bases

_NO_BASES = np.empty(0, dtype=np.uint8)


def read_any_sequences(
    path: Path, *, display_name: str | None = None, reporter: Reporter | None = None
) -> Iterator[Query]:
    """Yield every record or table row in order, including those without a sequence.

    Args:
        path: FASTA, FASTQ, GenBank or text table, plain or compressed, or parquet; detected by
            content.
        display_name: Name of the file in errors; the path by default.
        reporter: Receives the changes made while reading, after the last record.

    Raises:
        FormatError: The file is missing, empty, truncated, damaged, or of another format.
        MissingExtraError: The file is parquet or zstd, and the package that reads it is missing.
        AlphabetError: A character is not a nucleotide code.
    """
    name = display_name or str(path)
    if is_parquet(path):
        yield from _parquet_rows(path, name)
        return
    if is_genbank(NamedFile(path, name)):
        for identifier, letters, where in genbank_sequences(NamedFile(path, name)):
            yield Query(identifier, encode_bases(letters, where=where))
        return
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


def _parquet_rows(path: Path, name: str) -> Iterator[Query]:
    for number, (identifier, letters) in enumerate(parquet_rows(path, SEQUENCE, name), start=1):
        codes = _NO_BASES
        if not is_missing_sequence(letters):
            codes = encode_bases(letters, where=f"`{name}`, row {number}")
        yield Query(identifier or str(number), codes)
