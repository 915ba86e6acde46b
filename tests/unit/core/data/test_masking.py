"""Selection of hidden bases, and their replacements."""

from __future__ import annotations

import numpy as np
import pytest

from genomeformer_cli.core.data.masking import (
    NOT_A_TARGET,
    MaskedBatch,
    MaskingConfig,
    mask_windows,
)
from genomeformer_cli.core.data.windows import Windows
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.tokenizers.protocol import MASK_ID, PAD_ID

REAL_IDS = range(5, 9)
N_ID = 9


def windows(rows: int = 200, length: int = 500) -> Windows:
    generator = np.random.default_rng(0)
    tokens_BL = generator.integers(5, 10, (rows, length))
    tokens_BL[:, -20:] = PAD_ID
    soft_mask_BL = generator.random(tokens_BL.shape) < 0.3
    return Windows(tokens_BL=tokens_BL, soft_mask_BL=soft_mask_BL)


def masked(config: MaskingConfig | None = None, seed: int = 1) -> MaskedBatch:
    return mask_windows(windows(), REAL_IDS, config or MaskingConfig(), np.random.default_rng(seed))


def close(count: int, number: int, share: float) -> bool:
    """Within five standard deviations of a binomial count."""
    return abs(count - number * share) < 5 * (number * share * (1 - share)) ** 0.5


def test_only_real_bases_are_targets_at_the_rate_requested() -> None:
    tokens_BL = windows().tokens_BL
    target_BL = masked().targets_BL != NOT_A_TARGET
    real_BL = (tokens_BL >= 5) & (tokens_BL < 9)
    assert not (target_BL & ~real_BL).any()
    assert close(int(target_BL.sum()), int(real_BL.sum()), 0.15)


def test_targets_are_the_true_bases_and_the_rest_is_untouched() -> None:
    tokens_BL, batch = windows().tokens_BL, masked()
    target_BL = batch.targets_BL != NOT_A_TARGET
    assert np.array_equal(batch.targets_BL[target_BL], tokens_BL[target_BL])
    assert np.array_equal(batch.inputs_BL[~target_BL], tokens_BL[~target_BL])


def test_eighty_ten_ten() -> None:
    tokens_BL, batch = windows().tokens_BL, masked()
    target_BL = batch.targets_BL != NOT_A_TARGET
    number = int(target_BL.sum())
    shown = batch.inputs_BL[target_BL]
    assert close(int((shown == MASK_ID).sum()), number, 0.8)
    kept = int((shown == tokens_BL[target_BL]).sum())
    assert close(kept, number, 0.1 + 0.1 / 4)


def test_replacements_are_drawn_from_the_four_bases_evenly() -> None:
    config = MaskingConfig(mask_share=0, random_share=1)
    batch = masked(config)
    shown = batch.inputs_BL[batch.targets_BL != NOT_A_TARGET]
    counts = np.bincount(shown, minlength=10)
    assert counts[5:9].sum() == shown.size
    assert all(close(int(count), shown.size, 0.25) for count in counts[5:9])


def test_soft_masked_targets_have_the_requested_weight() -> None:
    batch = masked(MaskingConfig(soft_mask_weight=0.1))
    target_BL = batch.targets_BL != NOT_A_TARGET
    expected = np.where(windows().soft_mask_BL, np.float32(0.1), np.float32(1)) * target_BL
    assert np.array_equal(batch.weights_BL, expected.astype(np.float32))
    assert np.array_equal(masked().weights_BL, target_BL.astype(np.float32))


def test_the_generator_decides_everything() -> None:
    one, same, other = masked(seed=3), masked(seed=3), masked(seed=4)
    assert np.array_equal(one.inputs_BL, same.inputs_BL)
    assert not np.array_equal(one.inputs_BL, other.inputs_BL)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match="rate"):
        MaskingConfig(rate=rate)


def test_impossible_shares_are_refused() -> None:
    with pytest.raises(ConfigError, match="mask_share"):
        MaskingConfig(mask_share=0.8, random_share=0.3)


def test_spans_hide_as_many_bases_and_are_replaced_alike() -> None:
    config = MaskingConfig(span=5)
    tokens_BL, batch = windows().tokens_BL, masked(config)
    target_BL = batch.targets_BL != NOT_A_TARGET
    real_BL = (tokens_BL >= 5) & (tokens_BL < 9)
    # Spans overlap and N is between: the count spreads more than a binomial one, by their length.
    assert abs(target_BL.sum() - 0.15 * real_BL.sum()) < 0.01 * real_BL.sum()
    mask_BL = batch.inputs_BL == MASK_ID
    for row in range(20):
        place = 0
        while place < 470:
            stop = place
            while target_BL[row, stop]:
                stop += 1
            if stop > place:
                fates = mask_BL[row, place:stop]
                assert fates.all() or not fates.any()
            place = stop + 1


def test_an_empty_span_is_refused() -> None:
    with pytest.raises(ConfigError, match="span"):
        MaskingConfig(span=0)
