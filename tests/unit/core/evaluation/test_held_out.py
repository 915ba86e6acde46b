from __future__ import annotations

from pathlib import Path

import pytest

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.held_out import held_out_questions
from genomeformer_cli.core.tokenizers.files import build_tokenizer
from tests.corpora import build_corpus, random_dna


def test_other_tokens_than_bases_are_refused(tmp_path: Path) -> None:
    corpus = build_corpus(tmp_path / "c", {"a": random_dna(500)})
    for settings in ({"k": 6}, {"k": 3, "stride": 1}):
        corpus.tokenizer = build_tokenizer("kmer", **settings)
        with pytest.raises(ConfigError, match="`kmer` tokens") as caught:
            held_out_questions(corpus, length=50, max_windows=9, passes=12)
        assert "--tokenizer char" in str(caught.value.hint)
    corpus.tokenizer = build_tokenizer("kmer", k=1)
    assert held_out_questions(corpus, length=50, max_windows=9, passes=12).hidden_PWL.any()
