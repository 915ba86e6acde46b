"""Cases of models and tokenizers that gave wrong numbers, as a user meets them."""

from __future__ import annotations

import csv
import io
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from genomeformer_cli import load
from genomeformer_cli.core.attention.registry import AttentionConfig
from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.model_io.model_folder import write_model
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.sequence import decode_bases, encode_bases, reverse_complement_codes
from genomeformer_cli.core.store.seal import seal
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from tests.cli import RunCommand
from tests.corpora import random_dna

REFORMER = AttentionConfig(name="reformer", hash_chunk=4)


def write_case_model(folder: Path, config: ModelConfig) -> Path:
    model = build_model(config)
    with torch.no_grad():  # answers that are far from even
        for name, parameter in model.named_parameters():
            if name.endswith("head.weight"):
                parameter.mul_(30)
    folder.mkdir()
    write_model(model, CharTokenizer(), folder)
    seal(folder)
    return folder


@pytest.mark.parametrize("case", ["audit-01"])
def test_probabilities_of_a_causal_reformer_sum_to_one(
    case: str, run_cli: RunCommand, tmp_path: Path
) -> None:
    config = ModelConfig(
        width=16, depth=2, num_heads=2, mlp_width=24, attention=REFORMER, direction="causal"
    )
    folder = write_case_model(tmp_path / case, config)
    lines = []
    for number, rest in enumerate(itertools.product("ACGT", repeat=4)):
        lines += [f">{number}", f"ACGGTCATTG{''.join(rest)}"]
    fasta, prefix = tmp_path / "all.fa", tmp_path / "prefix.fa"
    fasta.write_text("\n".join(lines) + "\n")
    prefix.write_text(">prefix\nACGGTCATTG\n")
    totals = {}
    for path in (fasta, prefix):
        scored = run_cli("score", str(path), "--model", str(folder))
        assert scored.exit_code == 0, scored.stderr
        rows = csv.DictReader(io.StringIO(scored.stdout.decode()), delimiter="\t")
        totals[path] = sum(math.exp(float(row["log_likelihood"])) for row in rows)
    assert totals[fasta] == pytest.approx(totals[prefix], rel=1e-3)


@pytest.mark.parametrize("mechanism", ["reformer", "linear"], ids="case-audit-02-{}".format)
def test_a_variant_has_one_score_whatever_else_is_in_its_file(
    mechanism: str, run_cli: RunCommand, tmp_path: Path
) -> None:
    attention = AttentionConfig(name=mechanism, hash_chunk=4)
    config = ModelConfig(
        width=16, depth=2, num_heads=2, mlp_width=24, context=64, attention=attention
    )
    folder = write_case_model(tmp_path / "model", config)
    letters, short = random_dna(200, 2), random_dna(31, 3)  # one window needs padding
    (tmp_path / "g.fa").write_text(f">c\n{letters}\n>d\n{short}\n")
    base = short[14]
    alone = f"d\t15\tsnv\t{base}\t{'ACGT'[('ACGT'.index(base) + 1) % 4]}\n"
    company = f"c\t50\tinsertion\t{letters[49]}\t{letters[49]}{'ACGT' * 3}\n"
    rows = []
    for name, text in (("alone", alone), ("company", company + alone)):
        path = tmp_path / f"{name}.vcf"
        path.write_text(text)
        line = ("--vcf", str(path), "--genome", str(tmp_path / "g.fa"), "--window", "64")
        done = run_cli("score", *line, "--model", str(folder))
        assert done.exit_code == 0, done.err
        rows.append(list(csv.DictReader(io.StringIO(done.out), delimiter="\t"))[-1])
    assert [row["id"] for row in rows] == ["snv", "snv"]
    for column in ("log_odds", "embedding_distance"):
        first, second = (float(row[column]) for row in rows)
        assert first == pytest.approx(second, abs=2e-5)
        assert abs(first) > 1e-3


@pytest.mark.parametrize("case", ["audit-03"])
@pytest.mark.parametrize(("k", "stride"), [(6, 1), (8, 1), (4, 3), (6, 6)])
def test_training_tokens_end_before_the_held_out_tail(
    case: str, k: int, stride: int, run_cli: RunCommand, tmp_path: Path, cache_home: Path
) -> None:
    sequence = random_dna(1000)
    fasta = tmp_path / f"{case}.fa"
    fasta.write_text(f">r\n{sequence}\n")
    made = run_cli(
        *("tokenize", str(fasta), "--name", "tail", "--split", "tail"),
        *("--tokenizer", "kmer", "--k", str(k), "--stride", str(stride)),
    )
    assert made.exit_code == 0, made.stderr
    corpus = Corpus(cache_home / "corpora" / "tail")
    offsets = corpus.tokenizer.offsets(encode_bases(sequence))
    (train,), (held,) = (corpus.segments(split) for split in ("train", "validation"))
    last_trained = offsets[: train.length, 1].max()
    first_held = offsets[held.start, 0]
    assert first_held - k < last_trained <= first_held
    assert held.start + held.length == len(offsets)


@pytest.mark.parametrize("case", ["audit-04"])
@pytest.mark.parametrize("length", [4095, 4097, 6001])
def test_the_other_strand_swaps_the_halves_beyond_the_context(case: str, length: int) -> None:
    codes = encode_bases(random_dna(length, len(case)))
    strands = [decode_bases(codes), decode_bases(reverse_complement_codes(codes))]
    vector, other = load("default", device="cpu").embed(strands)
    swapped = np.roll(other, other.size // 2)
    assert np.linalg.norm(vector - swapped) < 1e-5 * np.linalg.norm(vector)
