"""Kernels of flash-linear-attention, in Triton's interpreter: recorded numbers, and our layers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.oracle

SCRIPT = Path(__file__).with_name("fla_numbers.py")
DATA = Path(__file__).parents[1] / "data" / "fla"


def run(argument: str) -> str:
    # A process of its own: Triton reads the environment when it is imported.
    command = [sys.executable, "-W", "ignore", str(SCRIPT), argument]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_the_recorded_numbers_are_those_of_the_installed_version(tmp_path: Path) -> None:
    run(str(tmp_path))
    found, recorded = (load_file(path / "numbers.safetensors") for path in (tmp_path, DATA))
    assert found.keys() == recorded.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, recorded[name], rtol=1e-5, atol=2e-5)
    documents = (json.loads((path / "signatures.json").read_text()) for path in (tmp_path, DATA))
    found_parameters, parameters = (document["parameters"] for document in documents)
    assert found_parameters == parameters


def test_our_layers_compute_the_same_in_their_kernels() -> None:
    lines = run("--layers").splitlines()
    assert len(lines) == 4
    for line in lines:
        assert float(line.split()[-1]) < 1e-5, line
