"""Motifs: a planted motif is recovered, aligned and matched; noise has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.explanation.motifs import (
    Motif,
    MotifOptions,
    find_motifs,
    match_motif,
)
from genomeformer_cli.core.formats.meme import MemeMotif, meme_text, read_meme
from genomeformer_cli.core.sequence import encode_bases, reverse_complement
from tests.corpora import random_dna

OPTIONS = MotifOptions(min_seqlets=10)


def known(name: str, bases: str) -> Motif:
    return Motif(name=name, frequencies_WR=np.eye(4)[encode_bases(bases)], num_seqlets=1)


def planted(bases: str, *, both: bool, value: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    generator = np.random.default_rng(1)
    rows, values = [], []
    for number in range(60):
        start = int(generator.integers(3, 40))
        inserted = reverse_complement(bases) if both and number % 2 else bases
        text = random_dna(60, number)
        rows.append(encode_bases(text[:start] + inserted + text[start + len(bases) :]))
        noise = generator.normal(0, 0.05, 60)
        noise[start : start + len(bases)] += value
        values.append(noise)
    return rows, values


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("value", [1.0, -1.0])
def test_a_planted_motif_is_recovered(both: bool, value: float) -> None:
    rows, values = planted("TTGACAC", both=both, value=value)
    options = MotifOptions(min_seqlets=10, both_strands=both)
    motif = find_motifs(rows, values, options)[0]
    match = match_motif(motif, [known("other", "GGCCGCC"), known("planted", "TTGACAC")])
    assert match is not None
    assert match.name == "planted"
    assert match.similarity > 0.9
    assert match.p_value < 0.05
    assert motif.num_seqlets >= 55
    assert np.sign(motif.attribution) == np.sign(value)
    texts = (motif.consensus, reverse_complement(motif.consensus))
    assert any("TTGACAC" in text for text in texts[: 1 + both])


def test_two_planted_motifs_are_two() -> None:
    first, second = (planted(bases, both=False, value=1.0) for bases in ("TTGACAC", "GGCGGCG"))
    motifs = find_motifs(first[0] + second[0], first[1] + second[1], OPTIONS)
    best = {match.name for m in motifs if (match := match_motif(m, KNOWN)) and match.p_value < 0.05}
    assert best == {"one", "two"}


KNOWN = [known("one", "TTGACAC"), known("two", "GGCGGCG")]


def test_noise_has_no_motif() -> None:
    generator = np.random.default_rng(2)
    rows = [encode_bases(random_dna(60, number)) for number in range(40)]
    assert find_motifs(rows, [generator.normal(size=60) for _ in rows], OPTIONS) == []
    assert find_motifs([encode_bases("ACGN")], [np.array([1, 2, 3, np.nan])], OPTIONS) == []


def test_meme_files_are_read_as_written(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).dirichlet(np.ones(4), size=5)
    path = tmp_path / "m.meme"
    path.write_text(meme_text([MemeMotif(name="a b", frequencies_WR=matrix, num_sites=7)]))
    (motif,) = read_meme(path)
    assert (motif.name, motif.num_sites) == ("a b", 7)
    np.testing.assert_allclose(motif.frequencies_WR, matrix, atol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "MOTIF x\n",
        "ALPHABET= ACDEFGHIKLMNPQRSTVWY\n",
        "MOTIF x\nletter-probability matrix: alength= 4 w= 2\n0.1 0.2 0.3 0.4\n",
        "MOTIF x\nletter-probability matrix: alength= 4 w= 1\n5 0 0 0\n",
        "MOTIF x\nletter-probability matrix: alength= 4\n0.25 0.25 0.25 0.25\n",
        "MOTIF x\nletter-probability matrix: w= 1\n0.5 0.5 0\n",
    ],
)
def test_bad_meme_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.meme"
    path.write_text(text)
    with pytest.raises(InputError):
        read_meme(path)
