"""Steps that users run in fresh processes, run in the process of the test: seconds less each.

A fresh process imports torch again. Tests of `core/release/verify.py`, of `core/processes.py` and
one test of each command that uses them start it; all others use the fixture `one_process`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from torch import Tensor


def stay_in_one_process(patch: pytest.MonkeyPatch) -> None:
    """Load released bundles, and train compared models, in this process."""
    from genomeformer_cli.core import processes
    from genomeformer_cli.core.errors import GenomeformerError
    from genomeformer_cli.core.model_io.tensors import read_tensors
    from genomeformer_cli.core.release import selftest, stock_check, verify
    from genomeformer_cli.core.store.seal import check_seal
    from genomeformer_cli.core.workflows import compare, leaderboard, release_publish

    def outputs(folder: Path) -> dict[str, Tensor]:
        check_seal(folder)
        return selftest.reference_outputs(*selftest.read_bundled_model(folder))

    def call(
        work: Callable[[Any, Any], None], task: Any, reporter: Any
    ) -> processes.TaskFailure | None:
        try:
            work(task, reporter)
        except GenomeformerError as failure:
            return processes.TaskFailure(message=failure.message, hint=failure.hint)
        return None

    def stock_outputs(folder: Path) -> dict[str, Tensor]:
        with tempfile.TemporaryDirectory() as place:
            stock_check.main(folder, file := Path(place) / "outputs.safetensors")
            return read_tensors(file)

    patch.setattr(stock_check, "stock_outputs", stock_outputs)
    for module in (verify, release_publish):
        patch.setattr(module, "outputs_in_fresh_process", outputs)
    for module in (compare, leaderboard):
        patch.setattr(module, "run_in_fresh_process", call)
