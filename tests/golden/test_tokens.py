"""Token ids of every tokenizer on one odd string, and the vocabulary's special tokens."""

from __future__ import annotations

from genomeformer_cli.core.sequence import encode_bases
from tests.conftest import GoldenNumbers
from tests.dna_tokenizers import TOKENIZERS
from tests.golden_numbers import Tolerance

# Both cases, U for T, every IUPAC code, runs of N, a repeat, and a length that no k divides.
ODD = "ACGTTGCAacgtuUNNNNNNNNRYKMSWBDHVryACGTTGCAACGTTGCAaaaaaaaaaaaaaCATGNGATTACAC"
EXACT = Tolerance(relative=0.0, absolute=0.0, reason="integers")


def test_token_ids(golden_numbers: GoldenNumbers) -> None:
    codes = encode_bases(ODD)
    values: dict[str, object] = {}
    for name, make in TOKENIZERS.items():
        tokenizer = make()
        ids = tokenizer.encode(codes)
        values[name] = {
            "ids": ids.tolist(),
            "other strand": tokenizer.reverse_complement(ids).tolist()
            if tokenizer.reads_both_strands
            else None,
            "tokens": len(tokenizer.tokens),
            "first tokens": list(tokenizer.tokens[:10]),
        }
    golden_numbers("tokens.json", values, EXACT)
