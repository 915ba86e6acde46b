"""FASTA text of generated sequences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from genomeformer_cli.core.sequence import decode_bases
from genomeformer_cli.render.rows import format_score

if TYPE_CHECKING:
    from genomeformer_cli.core.workflows.generate import GeneratedRecord

_LINE = 80


def fasta_record(record: GeneratedRecord) -> bytes:
    """Return one FASTA record, with its figures in the header.

    `generated` counts bases, `prompt` is the place of the prompt from 1, `log_likelihood` is a
    natural logarithm, and `bits_per_base` is its negative in bits per base that counts, `NA`
    without one.
    """
    bits = math.nan
    if record.num_scored:
        bits = -record.log_likelihood / math.log(2) / record.num_scored
    place = ""
    if record.prompt is not None and record.prompt[1] > record.prompt[0]:
        place = f"prompt={record.prompt[0] + 1}-{record.prompt[1]} "
    header = (
        f">{record.id} length={record.codes.size} generated={record.num_generated} {place}"
        f"log_likelihood={record.log_likelihood:.5f} bits_per_base={format_score(bits)}\n"
    )
    letters = decode_bases(record.codes)
    lines = [letters[start : start + _LINE] + "\n" for start in range(0, len(letters), _LINE)]
    return (header + "".join(lines)).encode("utf-8")
