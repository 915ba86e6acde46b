"""Sequences of a GenBank file, without its features."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from genomeformer_cli.core.errors import AnnotationError, StoreError
from genomeformer_cli.core.formats.genbank import read_genbank
from genomeformer_cli.core.formats.text import NamedFile
from genomeformer_cli.core.sequence import encode_bases


def genbank_sequences(file: NamedFile) -> Iterator[tuple[str, bytes, str]]:
    """Yield the id, the letters and the place in messages of every record.

    Raises:
        AnnotationError: The file is invalid, or a record has no sequence.
    """
    for record in read_genbank(file.lines(), file.display_name):
        name = record.annotated.id
        where = f"`{file.display_name}`: record `{name}`"
        if not record.sequence and record.annotated.length != 0:
            raise AnnotationError(
                f"{where} has no sequence",
                hint="give its FASTA file as `--genome`, with this file as `--gff`",
            )
        yield name, record.sequence, where


def write_genbank_sequences(file: NamedFile, fasta: Path) -> Path:
    """Write the sequences of a file as FASTA, in upper case, and return its path.

    Raises:
        AnnotationError: The file is invalid, or a record has no sequence.
        AlphabetError: A character is not a nucleotide code.
        StoreError: The FASTA file cannot be written.
    """
    try:
        with fasta.open("wb") as output:
            for name, letters, where in genbank_sequences(file):
                encode_bases(letters, where=where)
                output.write(f">{name}\n".encode() + letters.upper() + b"\n")
    except OSError as failure:
        raise StoreError(
            f"could not keep a copy of the sequences of `{file.display_name}`: "
            f"{failure.strerror or failure}",
            hint="free some space, or set `TMPDIR` to a folder that has some",
        ) from failure
    return fasta
