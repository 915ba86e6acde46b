"""Records of a file scored in groups: short ones side by side, a long one by its windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from genomeformer_cli.core.formats.sequences import Query
from genomeformer_cli.core.inference.cost import Demand
from genomeformer_cli.core.inference.distinct import DistinctRows
from genomeformer_cli.core.inference.worker_threads import run_tasks

R = TypeVar("R")

# A longer record is a group of its own: its windows keep all cores busy.
_LONG_RECORD = 16_384
_BASES_PER_GROUP = 1 << 19


def map_queries(
    function: Callable[[Query], R], queries: Iterator[Query], device: torch.device
) -> Iterator[tuple[Query, R]]:
    """Yield every record with the result of a function, in order; equal records are computed once.

    Args:
        function: Function of a record whose result depends on the bases, and on the id only in
            an error.
        queries: Records.
        device: Device of the model.
    """
    for group in _groups(queries):
        distinct = DistinctRows.of_sequences([query.codes for query in group])
        tasks = [group[row] for row in distinct.first_D]
        if len(tasks) == 1:
            results = [function(tasks[0])]
        else:
            sizes = [query.codes.size for query in tasks]
            # The windows of a record are computed one batch at a time: memory is small.
            demand = Demand(sizes, [0] * len(sizes))
            results = run_tasks(function, tasks, device=device, demand=demand)
        for query, index in zip(group, distinct.distinct_N, strict=True):
            yield query, results[index]


def _groups(queries: Iterator[Query]) -> Iterator[list[Query]]:
    group: list[Query] = []
    num_bases = 0
    for query in queries:
        size = query.codes.size
        if group and (size > _LONG_RECORD or num_bases + size > _BASES_PER_GROUP):
            yield group
            group, num_bases = [], 0
        group.append(query)
        num_bases += size
        if size > _LONG_RECORD:
            yield group
            group, num_bases = [], 0
    if group:
        yield group
