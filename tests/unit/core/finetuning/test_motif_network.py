"""Outputs of the network do not depend on padding, other rows or the strand."""

from __future__ import annotations

import torch

from genomeformer_cli.core.finetuning.motif_network import MotifNetwork
from genomeformer_cli.core.finetuning.motif_scanner import MotifOptions
from genomeformer_cli.core.sequence import encode_bases, reverse_complement_codes
from tests.corpora import random_dna

OPTIONS = MotifOptions(num_filters=8, both_strands=True, length=40)


def test_padding_and_strands_do_not_change_the_outputs() -> None:
    network = MotifNetwork(2, OPTIONS, seed=0).eval()
    codes = encode_bases(random_dna(30, 1))
    others = [encode_bases(random_dna(length, length)) for length in (1, 44, 30)]
    outputs_NC = network.outputs([codes, *others, reverse_complement_codes(codes)])
    torch.testing.assert_close(outputs_NC[0], outputs_NC[-1])
    for row, other in enumerate([codes, *others]):
        torch.testing.assert_close(outputs_NC[row], network.outputs([other])[0])
    assert network.outputs([]).shape == (0, 2)
