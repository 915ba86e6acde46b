"""Hashing by random rotations against its definition."""

from __future__ import annotations

import torch

from genomeformer_cli.core.attention.kernels.lsh import (
    directions_of,
    hash_buckets,
    hash_directions,
    random_rotations,
    sorted_rounds,
)


def test_the_bucket_is_the_largest_of_both_signs() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 50, 8, generator=generator)
    (rotation,) = random_rotations(1, 8, 12, generator=generator)
    for directions in (torch.tensor([6, 6]), torch.tensor([2, 5])):
        buckets = hash_buckets(x, rotation, directions)
        for row, count in enumerate(directions.tolist()):
            projected = x[row] @ rotation[:, :count]
            wanted = torch.cat((projected, -projected), dim=-1).argmax(dim=-1)
            assert torch.equal(buckets[row], wanted)


def test_opposite_vectors_fall_into_opposite_buckets() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, 1, 50, 8, generator=generator)
    (rotation,) = random_rotations(1, 8, 12, generator=generator)
    count = torch.tensor([6])
    assert torch.equal(
        (hash_buckets(x, rotation, count) + 6) % 12, hash_buckets(-x, rotation, count)
    )


def test_a_bucket_for_every_chunk_within_what_was_drawn() -> None:
    num_real = torch.tensor([0, 1, 8, 9, 16, 17, 10_000])
    expected = [1, 1, 1, 2, 2, 3, 32]
    assert hash_directions(num_real, 4, 32).tolist() == expected
    assert [directions_of(count, 4, 32) for count in num_real.tolist()] == expected


def test_padding_is_sorted_last() -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(1, 2, 20, 8, generator=generator)
    real = torch.rand(1, 20, generator=generator) < 0.5
    orders, buckets = sorted_rounds(
        x, real, random_rotations(3, 8, 4, generator=generator), torch.tensor([2])
    )
    num_real = int(real.sum())
    assert (buckets.diff(dim=-1) >= 0).all()
    assert torch.equal(buckets == 4, torch.arange(20).expand_as(buckets) >= num_real)
    for order in orders.reshape(-1, 20):
        assert sorted(order.tolist()) == list(range(20))
        assert real[0, order[:num_real]].all()
        assert order[num_real:].tolist() == (~real[0]).nonzero().flatten().tolist()
