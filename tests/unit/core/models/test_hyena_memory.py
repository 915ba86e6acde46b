"""Memory of long rows of HyenaDNA, in a process of its own."""

from __future__ import annotations

import pytest

from tests.cli import run_python

_PROBE = """
import resource, sys, torch
from genomeformer_cli.core.models import hyena, hyena_block, long_convolution
hyena_block._SLICE, long_convolution._GROUP_NUMBERS = int(sys.argv[1]), int(sys.argv[2])
config = hyena.HyenaConfig(context=20_000, positions=20_002, width=256, mlp_width=1_024, depth=2)
model = hyena.Hyena(config).eval()
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
with torch.inference_mode():
    model.hidden(torch.full((1, 100), 7), None)
    before = peak()
    model.hidden(torch.full((1, 20_000), 7), None)
print(peak() - before)
"""


def growth(slice_size: int, group_numbers: int) -> float:
    """Return how many MiB one row of 20,000 bases adds to the peak."""
    done = run_python("-c", _PROBE, str(slice_size), str(group_numbers))
    assert done.exit_code == 0, done.err
    return float(done.out)


@pytest.mark.slow
def test_a_long_row_needs_a_few_copies_of_its_features() -> None:
    # Features of the row: 20,000 positions, 256 numbers of 4 bytes.
    copy = 20_000 * 256 * 4 / 2**20
    assert growth(1 << 11, 1 << 19) < 13 * copy
    assert growth(1 << 30, 1 << 30) > 20 * copy
