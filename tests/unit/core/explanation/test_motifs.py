"""Motifs: a planted motif is recovered, aligned and matched; noise has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.explanation.motifs import (
    Motif,
    MotifFinder,
    MotifOptions,
    match_motif,
)
from genomeformer_cli.core.formats.meme import MemeMotif, meme_text, read_meme
from genomeformer_cli.core.sequence import encode_bases, reverse_complement
from tests.corpora import random_dna

OPTIONS = MotifOptions(min_seqlets=10)


def known(name: str, bases: str) -> Motif:
    return Motif(name=name, frequencies_WR=np.eye(4)[encode_bases(bases)], num_seqlets=1)


def find(rows: list[np.ndarray], effects: list[np.ndarray], options: MotifOptions) -> list[Motif]:
    finder = MotifFinder(options)
    for codes, effect_LR in zip(rows, effects, strict=True):
        finder.add(codes, effect_LR)
    return finder.motifs()


def planted(bases: str, *, both: bool, value: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return sequences with a motif, and effects of its bases among noise."""
    generator = np.random.default_rng(1)
    rows, effects = [], []
    for number in range(60):
        start = int(generator.integers(3, 40))
        inserted = reverse_complement(bases) if both and number % 2 else bases
        text = random_dna(60, number)
        codes = encode_bases(text[:start] + inserted + text[start + len(bases) :])
        effect = generator.normal(0, 0.05, (60, 4))
        place = np.arange(start, start + len(bases))
        effect[place, codes[place]] += value
        rows.append(codes)
        effects.append(effect)
    return rows, effects


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("value", [1.0, -1.0])
def test_a_planted_motif_is_recovered(both: bool, value: float) -> None:
    rows, effects = planted("TTGACAC", both=both, value=value)
    motif = find(rows, effects, MotifOptions(min_seqlets=10, both_strands=both))[0]
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
    motifs = find(first[0] + second[0], first[1] + second[1], OPTIONS)
    best = {match.name for m in motifs if (match := match_motif(m, KNOWN)) and match.p_value < 0.05}
    assert best == {"one", "two"}


KNOWN = [known("one", "TTGACAC"), known("two", "GGCGGCG")]
BOXES = {"minus-35": "TTGACA", "minus-10": "TATAAT"}


def promoters(number: int, reads_boxes: bool) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return promoters, and gradients of a model that reads composition and, if asked, two boxes.

    A base of a box is that of the consensus with probability 0.75; the boxes are 16 to 18 bases
    apart. The model adds the soft maxima of the scores of both boxes over all positions.
    """
    generator = np.random.default_rng(5)
    weights = {box: 2 * np.eye(4)[encode_bases(bases)] for box, bases in BOXES.items()}
    rows, effects = [], []
    for _ in range(number):
        codes = generator.choice(4, 81, p=(0.3, 0.2, 0.2, 0.3)).astype(np.uint8)
        first = int(generator.integers(20, 24))
        starts = (first, first + 6 + int(generator.integers(16, 19)))
        for start, bases in zip(starts, BOXES.values(), strict=True):
            is_kept = generator.random(6) < 0.75
            codes[start : start + 6][is_kept] = encode_bases(bases)[is_kept]
        effect_LR = np.tile([0.2, -0.2, -0.2, 0.2], (81, 1))
        for weight_WR in weights.values() if reads_boxes else ():
            score_P = [weight_WR[range(6), codes[p : p + 6]].sum() for p in range(76)]
            share_P = np.exp(np.array(score_P) - max(score_P))
            for place, share in enumerate(share_P / share_P.sum()):
                effect_LR[place : place + 6] += share * weight_WR
        effect_LR += generator.normal(0, 0.1, effect_LR.shape)
        rows.append(codes)
        effects.append(effect_LR)
    return rows, effects


@pytest.mark.parametrize("reads_boxes", [True, False])
def test_degenerate_boxes_of_promoters(reads_boxes: bool) -> None:
    motifs = find(*promoters(200, reads_boxes), MotifOptions())
    boxes = [known(box, bases) for box, bases in BOXES.items()]
    decoys = [known(f"decoy {bases}", bases) for bases in ("ATGTCA", "ACTTGA", "AATTTA")]
    found = {
        match.name: motif
        for motif in reversed(motifs)
        if (match := match_motif(motif, [*boxes, *decoys])) and match.p_value < 0.01
    }
    if not reads_boxes:
        assert motifs == []
        return
    assert set(BOXES) <= set(found)
    for box, place in (("minus-35", 21), ("minus-10", 44)):
        assert found[box].num_seqlets > 60
        assert BOXES[box][1:5] in found[box].consensus
        assert abs(np.median(found[box].starts) - place) < 4


def test_noise_has_no_motif() -> None:
    generator = np.random.default_rng(2)
    rows = [encode_bases(random_dna(60, number)) for number in range(40)]
    assert find(rows, [generator.normal(size=(60, 4)) for _ in rows], OPTIONS) == []
    assert find([encode_bases("ACGN")], [np.full((4, 4), np.nan)], OPTIONS) == []
    assert find([encode_bases("N" * 20)], [np.full((20, 4), np.nan)], OPTIONS) == []


def test_memory_is_bounded_and_the_strongest_windows_are_kept() -> None:
    rows, effects = planted("TTGACAC", both=False, value=1.0)
    finder = MotifFinder(MotifOptions(min_seqlets=10, max_seqlets=50))
    for repeat in range(4):
        for codes, effect_LR in zip(rows, effects, strict=True):
            finder.add(codes, effect_LR * (1 + repeat))
    assert len(finder._heap) == 50
    (motif,) = finder.motifs()
    assert motif.num_seqlets >= 45
    assert motif.attribution > 15


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
