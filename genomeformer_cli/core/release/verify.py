"""Verify that a bundle is complete, reveals nothing private, and reproduces the run.

A fresh process with an empty cache and no network reads the bundle; its vectors and logits are
compared with those of the run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.model_io.bundle_layout import check_layout
from genomeformer_cli.core.model_io.tensors import read_tensors
from genomeformer_cli.core.processes import run_module
from genomeformer_cli.core.release.leak_check import check_privacy
from genomeformer_cli.core.settings import fresh_environment
from genomeformer_cli.core.store.seal import check_seal

LARGEST_DIFFERENCE = 1e-5


@dataclass(frozen=True, kw_only=True)
class Verified:
    """Result of the verification of a bundle."""

    num_files: int  # Number of files with valid checksums.
    vectors: float  # Largest difference of a vector element.
    logits: float  # Largest difference of a logit.


def verify_bundle(
    folder: Path,
    expected: Mapping[str, Tensor],
    *,
    allowed: str = "",
    largest: float = LARGEST_DIFFERENCE,
) -> Verified:
    """Check the files of a bundle, and compare the outputs of its model in a fresh process.

    Args:
        folder: Folder of the bundle.
        expected: Reference outputs of the model in this process.
        allowed: Names that may occur on the card.
        largest: Largest difference that is accepted.

    Raises:
        CorruptError: A file is missing, changed, or unexpected.
        CheckpointError: The outputs differ, or the bundle reveals something private.
    """
    num_files = check_seal(folder)
    check_layout(folder)
    check_privacy(folder, allowed=allowed)
    outputs = outputs_in_fresh_process(folder)
    if outputs.keys() != expected.keys():
        raise _differ("returns other outputs")
    differences = {name: _difference(outputs[name], expected[name]) for name in expected}
    for name, tensor in expected.items():
        if not bool((tensor.isnan() == outputs[name].isnan()).all()):
            raise _differ("has values where the run has NaN")
    vectors = differences["vectors"]
    logits = max(value for name, value in differences.items() if name != "vectors")
    if not max(vectors, logits) <= largest:
        raise _differ(f"differs from the run's by {vectors:g} in vectors and {logits:g} in logits")
    return Verified(num_files=num_files, vectors=vectors, logits=logits)


def _difference(output: Tensor, expected: Tensor) -> float:
    """Return the largest difference, relative to the largest number if that exceeds 1."""
    scale = max(1.0, float(expected.nan_to_num(0.0).abs().max()))
    return float((output.double() - expected.double()).abs().nan_to_num(0.0).max()) / scale


def _differ(how: str) -> CheckpointError:
    return CheckpointError(
        f"the model in the bundle {how}", hint="this should not happen; please report it"
    )


def outputs_in_fresh_process(folder: Path) -> dict[str, Tensor]:
    """Return the outputs of the model of a bundle, loaded by a new process with an empty cache.

    Raises:
        CheckpointError: The process failed.
    """
    with tempfile.TemporaryDirectory(prefix="genomeformer-") as name:
        working_folder = Path(name)
        outputs = working_folder / "outputs.safetensors"
        process = run_module(
            "genomeformer_cli.core.release.selftest",
            [folder.absolute(), outputs],
            folder=working_folder,
            environment=fresh_environment(working_folder),
        )
        if process.returncode:
            last = (process.stderr.strip().splitlines() or ["no message"])[-1]
            raise CheckpointError(
                f"a fresh process could not load the bundle: {last}",
                hint="this should not happen; please report it",
            )
        return read_tensors(outputs, finite=False)
