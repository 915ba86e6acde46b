"""Malformed files by the thousand: one sentence or the right rows, and never half an array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genomeformer_cli.core.errors import GenomeformerError
from genomeformer_cli.core.reporting import SilentReporter
from tests.cli import RunCommand
from tests.malformed import malformed, naive_records
from tests.models import RELEASED, WIDTH

pytestmark = pytest.mark.usefixtures("trained")

NUM_DEFAULT, NUM_ALL, NUM_COMMANDS = 200, 10_000, 30


def embed_malformed(seed: int, folder: Path) -> bool:
    """Embed a malformed file; whether it was good. Fails if it is treated wrongly."""
    from genomeformer_cli.core.annotation.sources import SequenceSources
    from genomeformer_cli.core.workflows.embed import embed_sequences
    from genomeformer_cli.core.workflows.embed_request import EmbedRequest

    content, text = malformed(seed)
    source, output, ids = folder / "in", folder / "out" / "v.npy", folder / "out" / "ids.tsv"
    source.write_bytes(content)
    request = EmbedRequest(
        sources=SequenceSources(files=(str(source),)), model=RELEASED, output=output, ids=ids
    )
    result, hint = None, None
    try:
        result = embed_sequences(request, reporter=SilentReporter())
    except GenomeformerError as failure:
        hint = failure.hint
    if result is None:
        assert hint, seed
        left = sorted(path.name for path in output.parent.glob("*"))
        assert left == [], (seed, left)
        return False
    vectors = np.load(output)
    lines = ids.read_text(encoding="utf-8").split("\n")[1:-1]
    found = [(one[0], int(one[1])) for one in (line.split("\t") for line in lines)]
    assert vectors.shape == (len(found), WIDTH) == (result.rows, WIDTH), seed
    # A packed file whose bytes were harmed and that is still good was harmed where it says nothing.
    if text:
        assert found == naive_records(text), seed
    for path in output.parent.iterdir():
        path.unlink()
    return True


@pytest.mark.parametrize("start", range(0, NUM_DEFAULT, 100))
def test_malformed_files_give_a_sentence_or_the_right_rows(start: int, tmp_path: Path) -> None:
    good = [embed_malformed(seed, tmp_path) for seed in range(start, start + 100)]
    assert 10 < sum(good) < 90


@pytest.mark.slow
@pytest.mark.parametrize("start", range(NUM_DEFAULT, NUM_ALL, 1600))
def test_ten_thousand_malformed_files(start: int, tmp_path: Path) -> None:
    for seed in range(start, min(start + 1600, NUM_ALL)):
        embed_malformed(seed, tmp_path)


def test_the_command_never_shows_a_traceback(run_cli: RunCommand, tmp_path: Path) -> None:
    for seed in range(NUM_ALL, NUM_ALL + NUM_COMMANDS):
        content, _ = malformed(seed)
        (tmp_path / "in").write_bytes(content)
        done = run_cli("embed", str(tmp_path / "in"), "--model", RELEASED)
        assert done.exit_code in (0, 1), (seed, done.err)
        assert "Traceback" not in done.err
        assert "unexpected" not in done.err, (seed, done.err)
        assert bool(done.stdout) == (done.exit_code == 0)
