"""Split padded batches into rows without padding, as the slice-by-slice plans require.

Shape letters: B batch, L length.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from genomeformer_cli.core.objectives.loss import Examples

Span = tuple[int, int, int]


def unpad_rows(examples: Examples) -> Iterator[Examples]:
    """Yield the documents of a batch as rows without padding, grouped by length.

    The targets of the parts together equal those of the batch.
    """
    if examples.documents_BL is None and examples.mask_BL is None:
        yield examples
        return
    batch, length = examples.inputs_BL.shape
    if examples.documents_BL is not None:
        spans = [span for row in range(batch) for span in _documents(examples.documents_BL, row)]
    else:
        assert examples.mask_BL is not None
        sizes = examples.mask_BL.sum(dim=1).tolist()
        spans = [(row, 0, size) for row, size in enumerate(sizes) if size]
    by_length: dict[int, list[Span]] = {}
    for span in spans:
        by_length.setdefault(span[2], []).append(span)
    for size, alike in by_length.items():
        firsts = torch.tensor([row * length + start for row, start, _ in alike])
        index_BL = (firsts[:, None] + torch.arange(size)).to(examples.inputs_BL.device)
        yield Examples(
            inputs_BL=examples.inputs_BL.flatten()[index_BL],
            targets_BL=examples.targets_BL.flatten()[index_BL],
            weights_BL=examples.weights_BL.flatten()[index_BL],
            real_ids=examples.real_ids,
            teacher=None
            if examples.teacher is None
            else examples.teacher.map(partial(_select, index_BL=index_BL)),
        )


def _select(tensor: Tensor, index_BL: Tensor) -> Tensor:
    """Select positions of a (B, L, ...) tensor by their flat index."""
    return tensor.flatten(0, 1)[index_BL]


def _documents(documents_BL: Tensor, row: int) -> Iterator[Span]:
    numbers = documents_BL[row]
    edges = (numbers[1:] != numbers[:-1]).nonzero().squeeze(1) + 1
    for start, stop in pairwise([0, *edges.tolist(), len(numbers)]):
        if int(numbers[start]) >= 0:
            yield row, start, stop - start
