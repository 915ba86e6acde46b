"""Projections: principal components by another library, of narrow, wide, few and equal rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from genomeformer_cli.core.embedding import projection
from genomeformer_cli.core.embedding.projection import project
from genomeformer_cli.core.errors import InputError


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize(("num_rows", "width"), [(2, 7), (4, 300), (90, 40), (33, 3)])
def test_components_are_those_of_scikit_learn(
    monkeypatch: pytest.MonkeyPatch, num_rows: int, width: int, *, dense: bool
) -> None:
    monkeypatch.setattr(projection, "_WIDEST_DENSE", 1 << 11 if dense else 2)
    monkeypatch.setattr(projection, "_NUMBERS_PER_CHUNK", 7 * width)
    rows = np.random.default_rng(num_rows).normal(size=(num_rows, width)).astype(np.float32)
    rows[:, 0] *= 5
    with_gap = np.insert(rows, 1, np.nan, axis=0)
    found = project(with_gap)
    assert np.isnan(found.points[1]).all()
    points = np.delete(found.points, 1, axis=0)
    reference = PCA(2, svd_solver="full").fit(rows.astype(np.float64))
    expected = reference.transform(rows)
    for component in range(min(2, num_rows - 1)):
        sign = np.sign((points[:, component] * expected[:, component]).sum())
        np.testing.assert_allclose(
            points[:, component], sign * expected[:, component], rtol=1e-5, atol=1e-5
        )
        share = reference.explained_variance_ratio_[component]
        assert f"{share:.0%} of variance" in found.axes[component]


@pytest.mark.parametrize("width", [1, 5, 5000])
def test_equal_rows_are_one_point_and_a_single_row_is_refused(width: int) -> None:
    found = project(np.ones((3, width)))
    np.testing.assert_array_equal(found.points, np.zeros((3, 2)))
    with pytest.raises(InputError, match="1 finite rows"):
        project(np.ones((1, width)))


def test_few_rows_of_wide_vectors_are_projected() -> None:
    rows = np.random.default_rng(0).normal(size=(4, 16_384)).astype(np.float32)
    expected = PCA(2, svd_solver="full").fit_transform(rows.astype(np.float64))
    np.testing.assert_allclose(np.abs(project(rows).points), np.abs(expected), rtol=1e-4, atol=1e-4)
