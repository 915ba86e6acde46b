"""`embed`: rows, their order, and equal vectors however the sequences come."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from genomeformer_cli.core.embedding.batch_runner import Progress
from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.sequence import Codes
from genomeformer_cli.core.workflows import embed as embed_workflow
from tests.cli import Finished, RunCommand
from tests.failures import assert_failure
from tests.files import everything_in, fill_the_disk, flip_a_byte, names_in
from tests.models import RELEASED, RUN, WIDTH

PROMOTERS = Path(str(files("genomeformer_cli"))) / "assets" / "sequences" / "ecoli_promoters.fa"
NUM_PROMOTERS = 106

pytestmark = pytest.mark.usefixtures("trained")


def array(done: Finished) -> npt.NDArray[np.float32]:
    assert done.exit_code == 0, done.err
    found: npt.NDArray[np.float32] = np.load(io.BytesIO(done.stdout))
    assert found.dtype == np.float32
    return found


def promoter_ids() -> list[str]:
    lines = PROMOTERS.read_text(encoding="ascii").splitlines()
    return [line[1:].split()[0] for line in lines if line.startswith(">")]


def test_real_promoters_become_one_row_each(run_cli: RunCommand) -> None:
    done = run_cli("embed", str(PROMOTERS), "--model", RELEASED)
    vectors = array(done)
    assert vectors.shape == (NUM_PROMOTERS, WIDTH)
    assert np.isfinite(vectors).all()
    assert len(np.unique(vectors, axis=0)) == NUM_PROMOTERS
    assert done.err == "read 106 records, 6,042 bases\n"


@pytest.mark.parametrize("unbuffered", [pytest.param(None, marks=pytest.mark.slow), "1"])
def test_numpy_opens_what_came_through_a_real_pipe(unbuffered: str | None, tmp_path: Path) -> None:
    environment = {key: os.environ[key] for key in os.environ if key != "PYTHONUNBUFFERED"}
    if unbuffered:
        environment["PYTHONUNBUFFERED"] = unbuffered
    sequences = tmp_path / "many.fa"  # more than a pipe holds at once
    sequences.write_bytes(b"".join(b">r%d\nACGTACGT\n" % number for number in range(1200)))
    command = [sys.executable, "-m", "genomeformer_cli", "embed", str(sequences)]
    done = subprocess.run(
        [*command, "--model", RELEASED], capture_output=True, check=True, env=environment
    )
    vectors = np.load(io.BytesIO(done.stdout))
    assert vectors.shape == (1200, WIDTH)
    assert done.stderr == b"read 1,200 records, 9,600 bases\n"


def test_however_the_sequences_come_the_vectors_are_the_same(
    run_cli: RunCommand, tmp_path: Path
) -> None:
    content = PROMOTERS.read_bytes()
    (tmp_path / "p.fa.gz").write_bytes(gzip.compress(content))
    expected = run_cli("embed", str(PROMOTERS), "--model", RELEASED).stdout
    packed = run_cli("embed", str(tmp_path / "p.fa.gz"), "--model", RELEASED)
    piped = run_cli("embed", "-", "--model", RELEASED, stdin=content)
    piped_packed = run_cli("embed", "-", "--model", RELEASED, stdin=gzip.compress(content))
    assert packed.stdout == piped.stdout == piped_packed.stdout == expected
    done = run_cli("embed", str(PROMOTERS), "--model", RELEASED, "-o", str(tmp_path / "p.npy"))
    assert done.exit_code == 0
    assert (tmp_path / "p.npy").read_bytes() == expected
    assert "106 rows of 16" in done.out


def test_a_model_is_a_name_a_run_a_bundle_or_a_checkpoint(
    run_cli: RunCommand, trained: Path
) -> None:
    places = [
        RELEASED,
        RUN,
        str(trained / "runs" / RUN),
        str(trained / "weights" / RELEASED),
        str(trained / "runs" / RUN / "checkpoints" / "step-00000004"),
    ]
    outputs = {run_cli("embed", str(PROMOTERS), "--model", place).stdout for place in places}
    assert len(outputs) == 1
    earlier = str(trained / "runs" / RUN / "checkpoints" / "step-00000002")
    assert run_cli("embed", str(PROMOTERS), "--model", earlier).stdout not in outputs


def test_ids_are_in_the_order_of_the_rows(run_cli: RunCommand, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    done = run_cli("embed", str(PROMOTERS), "--model", RELEASED, "--ids", str(ids))
    assert ids.read_text(encoding="utf-8").splitlines() == promoter_ids()
    assert len(array(done)) == len(promoter_ids())


def test_a_row_does_not_depend_on_its_company(run_cli: RunCommand) -> None:
    together = array(run_cli("embed", str(PROMOTERS), "--model", RELEASED))
    lines = PROMOTERS.read_text(encoding="ascii").splitlines()
    longer = b">long\n" + b"ACGGT" * 100 + b"\n"
    for row in (0, 57):
        alone = "\n".join(lines[2 * row : 2 * row + 2]) + "\n"
        for content in (alone.encode(), alone.encode() + longer):
            found = array(run_cli("embed", "-", "--model", RELEASED, stdin=content))
            np.testing.assert_allclose(found[0], together[row], atol=1e-5)


def test_rows_computed_together_are_bounded(
    run_cli: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory of many short records does not grow with their number."""
    together = array(run_cli("embed", str(PROMOTERS), "--model", RELEASED))
    numbers = []
    compute = Embedder.embed

    def count(self: Embedder, sequences: Sequence[Codes], progress: Progress) -> Any:
        numbers.append(len(sequences))
        return compute(self, sequences, progress)

    monkeypatch.setattr(Embedder, "embed", count)
    monkeypatch.setattr(embed_workflow, "_BYTES_OF_ROWS", 10 * 20 * WIDTH)
    apart = array(run_cli("embed", str(PROMOTERS), "--model", RELEASED))
    assert numbers == [10] * 10 + [6]
    np.testing.assert_allclose(apart, together, atol=1e-5)


def test_case_and_u_change_no_vector(run_cli: RunCommand) -> None:
    plain = run_cli("embed", "-", "--model", RELEASED, stdin=b">a\nACGTNACGTT\n")
    odd = run_cli("embed", "-", "--model", RELEASED, stdin=b">a\nacguRACGuT\n")
    assert plain.stdout == odd.stdout


def test_a_long_sequence_is_the_mean_of_its_windows(run_cli: RunCommand) -> None:
    halves = ["ACGGTATTTACGGCATACCAGTACAGGATTTA", "TTGACAAATCGGCGCCTATAATGCAGGCTACC"]
    whole = f">w\n{halves[0]}{halves[1]}\n".encode()
    apart = f">a\n{halves[0]}\n>b\n{halves[1]}\n".encode()
    line = ("embed", "-", "--model", RELEASED)
    windowed = array(run_cli(*line, "--window", "32", stdin=whole))
    separate = array(run_cli(*line, stdin=apart))
    np.testing.assert_allclose(windowed[0], separate.mean(axis=0), atol=1e-5)


def test_json_describes_the_file(run_cli: RunCommand, tmp_path: Path, trained: Path) -> None:
    output = tmp_path / "a[red].npy"
    done = run_cli("embed", str(PROMOTERS), "--model", RELEASED, "-o", str(output), "--json")
    assert json.loads(done.out) == {
        "output": str(output),
        "rows": NUM_PROMOTERS,
        "width": WIDTH,
        "model": str(trained / "weights" / RELEASED),
        "precision": "fp32",
    }
    done = run_cli("embed", str(PROMOTERS), "--model", RELEASED, "-o", str(output))
    assert str(output) in done.out


def test_kernels_of_the_environment_are_checked_and_named(
    run_cli: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ("embed", "-", "--model", RELEASED)
    monkeypatch.setenv("GENOMEFORMER_KERNELS", "fast")
    refused = run_cli(*line, stdin=b">a\nACGT\n")
    assert_failure(refused, "`GENOMEFORMER_KERNELS`: invalid choice `fast`", exit_code=2)
    monkeypatch.setenv("GENOMEFORMER_KERNELS", "plain")
    assert "kernels: " in run_cli(*line, "--verbose", stdin=b">a\nACGT\n").err


def test_json_and_the_array_cannot_share_stdout(run_cli: RunCommand) -> None:
    done = run_cli("embed", str(PROMOTERS), "--model", RELEASED, "--json")
    assert_failure(done, "standard output", hint="-o", exit_code=2)


def test_records_without_a_base_are_rows_of_nan_and_reported(run_cli: RunCommand) -> None:
    content = b">a\n>b\nACGT\n>c\nNNNN\n>d\n"
    done = run_cli("embed", "-", "--model", RELEASED, stdin=content)
    vectors = array(done)
    assert np.isnan(vectors).all(axis=1).tolist() == [True, False, True, True]
    assert np.isfinite(vectors[1]).all()
    assert done.err.splitlines() == [
        "warning: record `a` is empty: row 0 is NaN",
        "warning: record `c` holds no base but N: row 2 is NaN",
        "warning: record `d` is empty: row 3 is NaN",
        "read 4 records, 8 bases: 1 used, 3 without a vector",
    ]


def test_a_record_without_a_word_is_a_row_of_nan_and_reported(run_cli: RunCommand) -> None:
    line = ("embed", "-", "--pool", "auto:motif")
    done = run_cli(*line, stdin=b">a\nG\n>b\nACG\n>c\nACNGT\n")
    assert np.isnan(array(done)).all(axis=1).tolist() == [True, False, True]
    assert done.err.splitlines()[-3:] == [
        "warning: record `a` holds no word of three bases A C G T: row 0 is NaN",
        "warning: record `c` holds no word of three bases A C G T: row 2 is NaN",
        "read 3 records, 9 bases: 1 used, 2 without a vector",
    ]
    strict = run_cli(*line, "--set", "strict=true", stdin=b">a\nG\n")
    assert_failure(strict, "record `a` holds no word of three bases A C G T", exit_code=1)


def test_duplicate_ids_keep_their_rows_with_a_warning(run_cli: RunCommand, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    content = b">a\nACGT\n>b\nGG\n>a\nTTTT\n"
    done = run_cli("embed", "-", "--model", RELEASED, "--ids", str(ids), stdin=content)
    assert array(done).shape == (3, WIDTH)
    assert ids.read_text(encoding="utf-8") == "a\nb\na\n"
    assert done.err.splitlines() == [
        "warning: the id `a` occurs 2 times; every record keeps its row",
        "read 3 records, 10 bases",
    ]


@pytest.mark.parametrize("window", ["0", "-5"])
def test_a_window_that_holds_nothing_is_refused(window: str, run_cli: RunCommand) -> None:
    done = run_cli("embed", str(PROMOTERS), "--model", RELEASED, f"--window={window}")
    assert_failure(done, "window", hint="--window", exit_code=2)


def test_an_unknown_device_is_refused(run_cli: RunCommand) -> None:
    done = run_cli("embed", str(PROMOTERS), "--model", RELEASED, "--device", "abacus")
    assert_failure(done, "`abacus`", hint="--device cpu", exit_code=2)


def test_an_unknown_model_is_named_beside_the_known(run_cli: RunCommand) -> None:
    done = run_cli("embed", str(PROMOTERS), "--model", "nothing")
    assert_failure(done, "`nothing`", hint=f"`{RELEASED}`, `{RUN}`")


def test_a_folder_without_weights_is_not_a_model(run_cli: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run_cli("embed", str(PROMOTERS), "--model", str(tmp_path / "empty"))
    assert_failure(done, "no weights")


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_bundle_with_a_flipped_byte_is_refused(
    file: str, run_cli: RunCommand, trained: Path, tmp_path: Path
) -> None:
    flip_a_byte(trained / "weights" / RELEASED / file)
    output = tmp_path / "a.npy"
    done = run_cli("embed", str(PROMOTERS), "--model", RELEASED, "-o", str(output))
    assert_failure(done, file, "checksum", hint="damaged")
    assert not output.exists()


def test_of_a_run_the_newest_whole_checkpoint_is_taken(run_cli: RunCommand, trained: Path) -> None:
    checkpoints = trained / "runs" / RUN / "checkpoints"
    earlier = run_cli("embed", str(PROMOTERS), "--model", str(checkpoints / "step-00000002"))
    flip_a_byte(checkpoints / "step-00000004" / "model.safetensors")
    done = run_cli("embed", str(PROMOTERS), "--model", RUN)
    assert done.stdout == earlier.stdout
    assert done.err.startswith("warning: ")
    assert "step-00000004" in done.err
    flip_a_byte(checkpoints / "step-00000002" / "model.safetensors")
    assert_failure(
        run_cli("embed", str(PROMOTERS), "--model", RUN), "every checkpoint", hint="train again"
    )


def test_a_full_disk_leaves_the_old_array(
    run_cli: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "a.npy").write_bytes(b"old")
    fill_the_disk(monkeypatch)
    line = ("embed", str(PROMOTERS), "--model", RELEASED, "-o", str(folder / "a.npy"))
    assert_failure(run_cli(*line), "No space left on device", hint="no partial file")
    assert everything_in(folder) == {"a.npy": b"old"}
    assert names_in(folder) == ["a.npy"]
