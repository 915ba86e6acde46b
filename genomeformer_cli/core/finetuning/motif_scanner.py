"""Motif scanner: convolutions on one-hot bases, pooled to one vector per row.

Filters of 9 to 23 bases, a dilated convolution, and pooling by maximum, mean and attention. Where
the strand is arbitrary, the same filters read both strands and the pools run over both, so that a
row and its reverse complement have equal features; otherwise features by position are added.
Alipanahi et al. 2015, "Predicting the sequence specificities of DNA- and RNA-binding proteins by
deep learning"; pooling by attention: Ilse et al. 2018, "Attention-based Deep Multiple Instance
Learning".
Shape letters: B rows, L length, R real bases, F filters, A attention heads, K features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.sequence import NUM_REAL_BASES

FILTER_SIZES = (9, 13, 17, 23)
PADDING = NUM_REAL_BASES + 1  # Code of padding.
_HEADS, _PLACES, _HIDDEN = 4, 12, 256
_MIX_SIZE, _MIX_DILATION = 7, 2
_MOMENTUM, _LEAST_VARIANCE = 0.1, 1e-5
_LEAST_SCORE = -1e30  # Of a part that is padding alone.
# Bases that are scanned at once without gradients: their activations fit into the cache.
_BASES_AT_ONCE, _LEAST_PIECE = 1 << 13, 1 << 10
# Bases to each side that an activation depends on.
_REACH = max(FILTER_SIZES) // 2 + _MIX_DILATION * (_MIX_SIZE // 2)
_LEAST_SPREAD = 0.1  # Relative to the mean standard deviation.


@dataclass(frozen=True, kw_only=True)
class MotifOptions:
    """Shape of a motif scanner; saved with it."""

    num_filters: int  # F, a multiple of the number of filter sizes.
    both_strands: bool  # Read both strands with the same filters.
    length: int  # Leading bases whose positions are features, with a single strand.

    def __post_init__(self) -> None:
        if self.num_filters < 1 or self.num_filters % len(FILTER_SIZES):
            raise ConfigError(
                f"invalid number of motif filters {self.num_filters}",
                hint=f"a multiple of {len(FILTER_SIZES)}; 128 is usual",
            )

    @property
    def num_features(self) -> int:
        """K."""
        by_position = 0 if self.both_strands else _PLACES * self.length
        return self.num_filters * (2 + _HEADS) + by_position


@dataclass(frozen=True, kw_only=True)
class BaseRows:
    """Rows of bases as shares of A C G T, padded at their end."""

    bases_BRL: Tensor  # Shares: one-hot, or 0 at N and in the padding.
    length_B: Tensor  # Number of bases.

    @classmethod
    def of_codes(cls, codes_BL: Tensor) -> BaseRows:
        """Return the one-hot bases of codes; 4 is N, 5 is padding."""
        onehot_BL6 = functional.one_hot(codes_BL.long(), PADDING + 1)
        bases_BRL = onehot_BL6[..., :NUM_REAL_BASES].float().transpose(1, 2)
        return cls(bases_BRL=bases_BRL, length_B=(codes_BL < PADDING).sum(dim=1))

    def reverse_complement(self) -> BaseRows:
        """Return the reverse complements, padded at their end too."""
        length = self.bases_BRL.shape[-1]
        place_L = torch.arange(length, device=self.bases_BRL.device)
        place_BL = (self.length_B[:, None] - 1 - place_L) % length
        index_BRL = place_BL[:, None].expand_as(self.bases_BRL)
        reverse_BRL = self.bases_BRL.flip(1).gather(2, index_BRL)
        return BaseRows(bases_BRL=reverse_BRL, length_B=self.length_B)


@dataclass(frozen=True, kw_only=True)
class _Pool:
    """Pools of a part of every row, which are merged over parts and strands."""

    maximum_BF: Tensor
    sum_BF: Tensor
    largest_BA: Tensor  # Largest attention score.
    weight_BA: Tensor  # Sum of the exponentials of the scores less the largest.
    attended_BAF: Tensor  # Sum of the activations, each times its exponential.

    def merge(self, other: _Pool) -> _Pool:
        """Return the pools of both parts."""
        largest_BA = torch.maximum(self.largest_BA, other.largest_BA)
        scale_BA, other_scale_BA = ((pool.largest_BA - largest_BA).exp() for pool in (self, other))
        return _Pool(
            maximum_BF=torch.maximum(self.maximum_BF, other.maximum_BF),
            sum_BF=self.sum_BF + other.sum_BF,
            largest_BA=largest_BA,
            weight_BA=self.weight_BA * scale_BA + other.weight_BA * other_scale_BA,
            attended_BAF=self.attended_BAF * scale_BA[..., None]
            + other.attended_BAF * other_scale_BA[..., None],
        )


class _Normalisation(nn.Module):
    """Batch normalisation over the bases of a batch, not its padding, then GELU.

    In training mode the statistics are those of the batch, and running means of them are kept for
    evaluation mode: Ioffe and Szegedy 2015, "Batch Normalization".
    """

    mean_F1: Tensor
    variance_F1: Tensor

    def __init__(self, num_filters: int) -> None:
        super().__init__()
        self.register_buffer("mean_F1", torch.zeros(num_filters, 1))
        self.register_buffer("variance_F1", torch.ones(num_filters, 1))
        self.scale_F1 = nn.Parameter(torch.ones(num_filters, 1))
        self.shift_F1 = nn.Parameter(torch.zeros(num_filters, 1))

    def forward(self, x_BFL: Tensor, is_base_B1L: Tensor) -> Tensor:
        """Return the activations."""
        mean_F1, variance_F1 = self.mean_F1, self.variance_F1
        if self.training:
            mean_F1, variance_F1 = _moments(x_BFL, is_base_B1L)
            with torch.no_grad():
                self.mean_F1.lerp_(mean_F1, _MOMENTUM)
                self.variance_F1.lerp_(variance_F1, _MOMENTUM)
        scale_F1 = self.scale_F1 * (variance_F1 + _LEAST_VARIANCE).rsqrt()
        return functional.gelu((x_BFL - mean_F1) * scale_F1 + self.shift_F1)

    def fit(self, x_BFL: Tensor, is_base_B1L: Tensor) -> None:
        """Set the running statistics to those of a batch."""
        mean_F1, variance_F1 = _moments(x_BFL, is_base_B1L)
        self.mean_F1.copy_(mean_F1)
        self.variance_F1.copy_(variance_F1)


def _moments(x_BFL: Tensor, is_base_B1L: Tensor) -> tuple[Tensor, Tensor]:
    count = is_base_B1L.sum()
    mean_F1 = (x_BFL * is_base_B1L).sum(dim=(0, 2))[:, None] / count
    variance_F1 = ((x_BFL - mean_F1).square() * is_base_B1L).sum(dim=(0, 2))[:, None] / count
    return mean_F1, variance_F1


class MotifScanner(nn.Module):
    """Convolutions and pools.

    Args:
        options: Number of filters and strands.
        seed: Seed of the initial weights.
    """

    def __init__(self, options: MotifOptions, *, seed: int = 0) -> None:
        super().__init__()
        self.options = options
        width = options.num_filters
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.scanners = nn.ModuleList(
                nn.Conv1d(NUM_REAL_BASES, width // len(FILTER_SIZES), size, padding="same")
                for size in FILTER_SIZES
            )
            self.scan_norm, self.mix_norm = _Normalisation(width), _Normalisation(width)
            padding = _MIX_DILATION * (_MIX_SIZE // 2)
            groups = len(FILTER_SIZES)
            self.mix = nn.Conv1d(
                width, width, _MIX_SIZE, padding=padding, dilation=_MIX_DILATION, groups=groups
            )
            self.attend = nn.Conv1d(width, _HEADS, 1)
            self.place = None if options.both_strands else nn.Conv1d(width, _PLACES, 1)

    def forward(self, rows: BaseRows) -> Tensor:
        """Return the features (B, K).

        Without gradients, long rows are scanned in pieces: memory does not grow with their length.
        """
        pool, places = self._read(rows)
        num_strands = 1
        if self.options.both_strands:
            # The sums of two strands do not depend on their order, to the bit.
            pool, num_strands = pool.merge(self._read(rows.reverse_complement())[0]), 2
        features = [
            pool.maximum_BF,
            pool.sum_BF / (num_strands * rows.length_B[:, None]),
            (pool.attended_BAF / pool.weight_BA[..., None]).flatten(1),
        ]
        if places:
            length = self.options.length
            places_BPL = torch.cat(places, dim=-1)[..., :length]
            missing = length - places_BPL.shape[-1]
            features.append(functional.pad(places_BPL, (0, missing)).flatten(1))
        return torch.cat(features, dim=1)

    def _read(self, rows: BaseRows) -> tuple[_Pool, list[Tensor]]:
        """Return the pools of one strand, and its features by position (B, P, L) in pieces.

        Bases beyond the length of the options have no features by position.
        """
        pools, places = list[_Pool](), list[Tensor]()
        is_base_BL = self._is_base(rows)
        for first, x_BFL in self._pieces(rows):
            inside_BL = is_base_BL[:, first : first + x_BFL.shape[-1]]
            pools.append(self._pool(x_BFL, inside_BL))
            if self.place is not None and first < self.options.length:
                places.append(self.place(x_BFL) * inside_BL[:, None])
        return reduce(_Pool.merge, pools), places

    def _pieces(self, rows: BaseRows) -> Iterator[tuple[int, Tensor]]:
        """Yield the first position and the activations (B, F, L) of consecutive pieces."""
        length = rows.bases_BRL.shape[-1]
        size = length
        if not (self.training or torch.is_grad_enabled()):
            size = max(_BASES_AT_ONCE // len(rows.bases_BRL), _LEAST_PIECE)
        for first in range(0, length, size):
            stop = min(first + size, length)
            low, high = max(first - _REACH, 0), min(stop + _REACH, length)
            x_BFL = self._scan(
                rows.bases_BRL[..., low:high], self._is_base(rows)[:, None, low:high]
            )
            yield first, x_BFL[..., first - low : stop - low]

    def _pool(self, x_BFL: Tensor, is_base_BL: Tensor) -> _Pool:
        outside_B1L = ~is_base_BL[:, None]
        score_BAL = self.attend(x_BFL).masked_fill(outside_B1L, -torch.inf)
        # The largest score is taken away for the exponential's sake, and cancels.
        largest_BA = score_BAL.detach().amax(dim=-1).clamp_min(_LEAST_SCORE)
        weight_BAL = (score_BAL - largest_BA[..., None]).exp()
        return _Pool(
            maximum_BF=x_BFL.masked_fill(outside_B1L, -torch.inf).amax(dim=-1),
            sum_BF=x_BFL.sum(dim=-1),
            largest_BA=largest_BA,
            weight_BA=weight_BAL.sum(dim=-1),
            attended_BAF=torch.einsum("bal,bfl->baf", weight_BAL, x_BFL),
        )

    @torch.no_grad()
    def standardise(self, rows: BaseRows) -> None:
        """Set the statistics of both layers to those of some rows."""
        strands = [rows, rows.reverse_complement()] if self.options.both_strands else [rows]
        is_base_B1L = torch.cat([self._is_base(strand) for strand in strands])[:, None]
        scanned_BFL = torch.cat([self._filter(strand.bases_BRL) for strand in strands])
        self.scan_norm.fit(scanned_BFL, is_base_B1L)
        activated_BFL = self.scan_norm(scanned_BFL, is_base_B1L) * is_base_B1L
        self.mix_norm.fit(self.mix(activated_BFL), is_base_B1L)

    def _filter(self, bases_BRL: Tensor) -> Tensor:
        return torch.cat([scan(bases_BRL) for scan in self.scanners], dim=1)

    def _scan(self, bases_BRL: Tensor, is_base_B1L: Tensor) -> Tensor:
        """Return the activations (B, F, L) of one strand; 0 in the padding."""
        scanned_BFL = self.scan_norm(self._filter(bases_BRL), is_base_B1L) * is_base_B1L
        mixed_BFL: Tensor = scanned_BFL + self.mix_norm(self.mix(scanned_BFL), is_base_B1L)
        return mixed_BFL * is_base_B1L

    @staticmethod
    def _is_base(rows: BaseRows) -> Tensor:
        place_L = torch.arange(rows.bases_BRL.shape[-1], device=rows.length_B.device)
        return place_L < rows.length_B[:, None]


class MotifBranch(nn.Module):
    """Scanner and a hidden layer, a part of the head.

    Args:
        options: Number of filters and strands.
        dropout: Fraction of the pooled features that are dropped in training mode.
        seed: Seed of the initial weights.
    """

    width = _HIDDEN
    mean_K: Tensor
    spread_K: Tensor

    def __init__(self, options: MotifOptions, *, dropout: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.scanner = MotifScanner(options, seed=seed)
        self.register_buffer("mean_K", torch.zeros(options.num_features))
        self.register_buffer("spread_K", torch.ones(options.num_features))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            self.hidden = nn.Linear(options.num_features, _HIDDEN)

    def forward(self, rows: BaseRows) -> Tensor:
        """Return the hidden features (B, width)."""
        features_BK = (self.scanner(rows) - self.mean_K) / self.spread_K
        return functional.gelu(self.hidden(self.drop(features_BK)))

    @torch.no_grad()
    def standardise(self, batches: Sequence[BaseRows]) -> None:
        """Set the statistics of all layers to those of batches of rows; ends in evaluation mode."""
        self.eval()
        self.scanner.standardise(batches[len(batches) // 2])
        features_BK = torch.cat([self.scanner(rows) for rows in batches])
        mean_K, spread_K = feature_statistics(features_BK)
        self.mean_K.copy_(mean_K)
        self.spread_K.copy_(spread_K)


def feature_statistics(features_BK: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation; features that hardly vary are not scaled up."""
    spread_K = features_BK.float().std(dim=0, correction=0)
    least = _LEAST_SPREAD * float(spread_K.mean()) + 1e-6
    return features_BK.float().mean(dim=0), spread_K.clamp_min(least)
