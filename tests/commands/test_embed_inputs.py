"""Whatever sequences come from: several files, packings, cached genomes, regions, shards."""

from __future__ import annotations

import bz2
import io
import lzma
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from genomeformer_cli.core.model_io import resolve as sources
from tests.cli import Finished, RunCommand
from tests.failures import assert_failure
from tests.models import RELEASED, RUN, WIDTH

SEQUENCES = Path(str(files("genomeformer_cli"))) / "assets" / "sequences"
PROMOTERS = SEQUENCES / "ecoli_promoters.fa"
PHAGE = "NC_001422.1"
MODEL = ("--model", RELEASED)

pytestmark = pytest.mark.usefixtures("trained")


def array(done: Finished) -> npt.NDArray[np.float32]:
    assert done.exit_code == 0, done.err
    found: npt.NDArray[np.float32] = np.load(io.BytesIO(done.stdout))
    return found


def test_several_files_and_standard_input_are_rows_in_their_order(
    run_cli: RunCommand, tmp_path: Path
) -> None:
    (tmp_path / "a.fa.bz2").write_bytes(bz2.compress(b">a\nACGT\n>b\nGGA\n"))
    (tmp_path / "b.fq.xz").write_bytes(lzma.compress(b"@c\nTTGA\n+\n!!!!\n"))
    ids = tmp_path / "ids.txt"
    line = ("embed", str(tmp_path / "a.fa.bz2"), "-", str(tmp_path / "b.fq.xz"), *MODEL)
    found = array(run_cli(*line, "--ids", str(ids), stdin=b">s\nCCCA\n"))
    content = b">a\nACGT\n>b\nGGA\n>s\nCCCA\n>c\nTTGA\n"
    np.testing.assert_allclose(found, array(run_cli("embed", "-", *MODEL, stdin=content)), atol=0)
    assert ids.read_text() == "a\nb\ns\nc\n"


def test_a_genome_of_the_cache_is_called_by_its_name(
    run_cli: RunCommand, trained: Path, tmp_path: Path
) -> None:
    (fasta,) = (trained / "genomes" / PHAGE).glob("*.fa.gz")
    ids = tmp_path / "ids.tsv"
    found = array(run_cli("embed", PHAGE, *MODEL, "--ids", str(ids)))
    assert (found == array(run_cli("embed", str(fasta), *MODEL))).all()
    assert (found == array(run_cli("embed", "--genome", PHAGE, *MODEL))).all()
    header, row = ids.read_text().splitlines()
    assert header == "id\tlength\tfirst_row\trows"
    assert row == f"{PHAGE}\t5386\t0\t1"


def test_regions_of_a_genome_are_rows_in_the_order_of_the_bed_file(
    run_cli: RunCommand, tmp_path: Path
) -> None:
    bed = tmp_path / "r.bed"
    bed.write_text(f"{PHAGE}\t100\t180\tx\t0\t-\n{PHAGE}\t9000\t9010\ty\n{PHAGE}\t0\t50\n")
    ids = tmp_path / "ids.txt"
    line = ("embed", "--genome", PHAGE, "--bed", str(bed), *MODEL, "--ids", str(ids))
    done = run_cli(*line)
    found = array(done)
    assert np.isnan(found).all(axis=1).tolist() == [False, True, False]
    assert ids.read_text().splitlines() == ["x", "y", f"{PHAGE}:0-50"]
    reason = f"it reaches to base 9,010 of `{PHAGE}`, which has 5,386"
    assert done.err.splitlines() == [
        f"warning: `{bed}`: 3 rows, 2 sequences; 1 without (1 beyond the record)",
        f"warning: region `y`: beyond the record: {reason}: row 1 is NaN",
    ]
    assert_failure(run_cli(*line, "--set", "strict=true"), "region `y`", hint="strict")


def test_variants_are_pairs_of_rows(run_cli: RunCommand, tmp_path: Path) -> None:
    vcf = tmp_path / "v.vcf"
    vcf.write_text(f"{PHAGE}\t1\t.\tG\tT\n")  # phiX174 begins with GAGTTTTATC
    ids = tmp_path / "ids.txt"
    line = ("embed", "--genome", PHAGE, "--vcf", str(vcf), "--set", "flank=9", *MODEL)
    found = array(run_cli(*line, "--ids", str(ids)))
    content = b">r\nGAGTTTTATC\n>a\nTAGTTTTATC\n"
    assert (found == array(run_cli("embed", "-", *MODEL, stdin=content))).all()
    assert ids.read_text().splitlines() == [f"{PHAGE}:1:G>T:ref", f"{PHAGE}:1:G>T:alt"]


def test_shards_share_out_the_rows(run_cli: RunCommand) -> None:
    whole = array(run_cli("embed", str(PROMOTERS), *MODEL))
    for first in (1, 2, 3):
        part = array(run_cli("embed", str(PROMOTERS), *MODEL, "--shard", f"{first}/3"))
        np.testing.assert_allclose(part, whole[first - 1 :: 3], atol=1e-5)
    empty = array(run_cli("embed", "-", *MODEL, "--shard", "2/2", stdin=b">a\nACGT\n"))
    assert empty.shape == (0, WIDTH)


@pytest.mark.parametrize("content", [b">a\nACGT\n>b\n", b">a\nACGT\n>b\nNN\n", b">a\nA\n>a\nC\n"])
def test_strict_refuses_what_is_odd_and_writes_nothing(
    content: bytes, run_cli: RunCommand, tmp_path: Path
) -> None:
    output = tmp_path / "out.npy"
    line = ("embed", "-", *MODEL, "--set", "strict=true", "-o", str(output))
    done = run_cli(*line, stdin=content)
    assert_failure(done, "`a`" if content.count(b">a") > 1 else "`b`", hint="strict")
    assert list(tmp_path.glob("*out*")) == []


def test_a_flood_of_odd_records_is_a_hundred_lines_and_a_count(run_cli: RunCommand) -> None:
    done = run_cli("embed", "-", *MODEL, stdin=b"".join(b">r%d\n" % n for n in range(150)))
    assert array(done).shape == (150, WIDTH)
    lines = done.err.splitlines()
    assert len(lines) == 102
    assert lines[-1] == "read 150 records, 0 bases: 0 used, 150 without a vector"
    assert lines[-2] == "warning: and 50 more records like these"


def test_without_a_model_the_one_of_the_package_is_taken(
    run_cli: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENOMEFORMER_HOME", str(tmp_path / "nothing"))
    vectors = array(run_cli("embed", str(PROMOTERS)))
    assert vectors.shape == (106, 512)
    assert np.isfinite(vectors).all()


def test_without_a_model_it_is_explained(
    run_cli: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "bundled_folder", lambda: tmp_path / "nowhere")
    done = run_cli("embed", str(PROMOTERS))
    assert_failure(done, "has no default model", hint=f"`{RELEASED}`, `{RUN}`")
    monkeypatch.setenv("GENOMEFORMER_HOME", str(tmp_path / "nothing"))
    done = run_cli("embed", str(PROMOTERS))
    assert_failure(done, "has no default model", hint="pretrain")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "no sequences are given"),
        ("x.fa --genome y", "both sequence files"),
        ("x.fa --bed r.bed", "`--bed` needs a genome"),
        ("x.fa --vcf r.vcf", "`--vcf` needs a genome"),
        ("--genome y --bed r.bed --vcf v.vcf", "exclude each other"),
        ("- -", "only once"),
        ("- --shard 4/3", "no shard 4 of 3"),
        ("- --shard 3", "invalid shard `3`"),
        ("- --set flank=-1", "`flank` cannot be -1"),
        ("- --window wide", "`wide`"),
        ("- --set rows.tokens_per_batch=many", "`many`"),
        ("- --pool cls", "no [CLS] token"),
        ("- --pool none --plot x.html", "one point per record"),
        ("- --set plot_colors=x.tsv", "`plot_colors` needs a picture"),
        ("- --plot x.jpg", "unknown picture format"),
        ("- -o vectors.doc", "unknown file type"),
        ("- --resume", "needs an output file"),
        ("- --resume -o v.npy", "cannot be compared"),
        ("- --set rows.layers=9", "layers 0 to 1"),
    ],
)
def test_invalid_requests_are_refused(line: str, words: str, run_cli: RunCommand) -> None:
    done = run_cli("embed", *line.split(), *MODEL, stdin=b">a\nACGT\n")
    assert any(word in done.err for word in words.split("|")), done.err
    assert_failure(done, exit_code=2)
