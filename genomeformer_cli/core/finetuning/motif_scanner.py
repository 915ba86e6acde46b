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

from collections.abc import Sequence
from dataclasses import dataclass

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
        """Return the features (B, K)."""
        strands = [self._scan(rows)]
        if self.options.both_strands:
            strands.append(self._scan(rows.reverse_complement()))
        is_base_BL = self._is_base(rows)
        outside_B1L = ~is_base_BL[:, None]
        maxima_BF = [x_BFL.masked_fill(outside_B1L, -torch.inf).amax(dim=-1) for x_BFL in strands]
        sums_BF = [x_BFL.sum(dim=-1) for x_BFL in strands]
        scores_BAL = [self.attend(x_BFL).masked_fill(outside_B1L, -torch.inf) for x_BFL in strands]
        # The sums of two strands do not depend on their order, to the bit.
        with torch.no_grad():
            largest_BA = torch.stack([score_BAL.amax(dim=-1) for score_BAL in scores_BAL]).amax(0)
        weights_BAL = [(score_BAL - largest_BA[..., None]).exp() for score_BAL in scores_BAL]
        attended_BAF = [
            torch.einsum("bal,bfl->baf", weight_BAL, x_BFL)
            for weight_BAL, x_BFL in zip(weights_BAL, strands, strict=True)
        ]
        total_BA1 = _sum([weight_BAL.sum(dim=-1) for weight_BAL in weights_BAL])[..., None]
        features = [
            torch.stack(maxima_BF).amax(dim=0),
            _sum(sums_BF) / (len(strands) * rows.length_B[:, None]),
            (_sum(attended_BAF) / total_BA1).flatten(1),
        ]
        if self.place is not None:
            features.append(self._by_position(strands[0], is_base_BL))
        return torch.cat(features, dim=1)

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

    def _scan(self, rows: BaseRows) -> Tensor:
        """Return the activations (B, F, L) of one strand; 0 in the padding."""
        is_base_B1L = self._is_base(rows)[:, None]
        scanned_BFL = self.scan_norm(self._filter(rows.bases_BRL), is_base_B1L) * is_base_B1L
        mixed_BFL: Tensor = scanned_BFL + self.mix_norm(self.mix(scanned_BFL), is_base_B1L)
        return mixed_BFL * is_base_B1L

    def _by_position(self, x_BFL: Tensor, is_base_BL: Tensor) -> Tensor:
        """Return the features by position; bases beyond the length of the options have none."""
        assert self.place is not None
        length = self.options.length
        places_BPL = (self.place(x_BFL) * is_base_BL[:, None])[..., :length]
        return functional.pad(places_BPL, (0, length - places_BPL.shape[-1])).flatten(1)

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


def _sum(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]
