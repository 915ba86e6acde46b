"""Small convolutional network from random weights: the baseline that scans rows for motifs.

The scanner of `motif_scanner`, a hidden layer and dropout. The weights with the best validation are
kept.
Shape letters: B rows, L length, C outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from genomeformer_cli.core.finetuning.batches import stack_targets
from genomeformer_cli.core.finetuning.dataset import LabelledRows
from genomeformer_cli.core.finetuning.inference import evaluate_predictions
from genomeformer_cli.core.finetuning.losses import Loss
from genomeformer_cli.core.finetuning.metrics import Floats, TaskScore
from genomeformer_cli.core.finetuning.motif_scanner import (
    PADDING,
    BaseRows,
    MotifBranch,
    MotifOptions,
)
from genomeformer_cli.core.finetuning.splits import TEST, TRAIN, VALIDATION
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes

NUM_FILTERS = 128
MAX_EPOCHS = 8
# Bases of a training, both strands counted: bounds the time to some minutes of one core.
MAX_BASES = 1 << 24
_BATCH, _ROWS_SCORED = 128, 512
_RATE, _DECAY, _DROPOUT, _HIDDEN_BASES = 2e-3, 0.05, 0.3, 0.03
_NUM_VALIDATIONS, _PATIENCE = 8, 3
_SEED_SHIFT, _SAMPLE, _BASES_STANDARDISED = 41, 43, 1 << 17


class MotifNetwork(nn.Module):
    """Motif scanner, a hidden layer and outputs, with dropout.

    Args:
        num_outputs: C.
        options: Filters, strands and length.
        seed: Seed of the initial weights.
    """

    def __init__(self, num_outputs: int, options: MotifOptions, *, seed: int) -> None:
        super().__init__()
        self.branch = MotifBranch(options, dropout=_DROPOUT, seed=seed)
        self.drop = nn.Dropout(_DROPOUT)
        self.out = nn.Linear(self.branch.width, num_outputs)

    def forward(self, codes_BL: Tensor) -> Tensor:
        """Return the outputs (B, C) of base codes; 4 is N, 5 is padding."""
        outputs_BC: Tensor = self.out(self.drop(self.branch(BaseRows.of_codes(codes_BL))))
        return outputs_BC


@dataclass(frozen=True, kw_only=True)
class NetworkTraining:
    """Training of a network on labelled rows."""

    rows: LabelledRows  # Labelled rows, one label per row.
    loss: Loss  # Loss of the task, with its class weights.
    both_strands: bool  # Average the outputs of both strands.
    metric: str  # Validation metric.
    seed: int  # Seed of the weights, the order of rows, and dropout.

    @property
    def length(self) -> int:
        """Length of the longest row."""
        return max(codes.size for codes in self.rows.codes)

    @property
    def steps(self) -> int:
        """Maximum number of steps."""
        num_rows = len(self.rows.splits[TRAIN])
        batch = min(_BATCH, num_rows)
        num_strands = 2 if self.both_strands else 1
        max_steps = max(MAX_BASES // (batch * self.length * num_strands), 1)
        return min(max(MAX_EPOCHS * num_rows // batch, _NUM_VALIDATIONS), max_steps)

    def fit(self, reporter: Reporter) -> tuple[TaskScore, TaskScore, list[Floats]]:
        """Train a network; return its validation score, test score and test predictions."""
        steps = self.steps
        interval = max(steps // _NUM_VALIDATIONS, 1)
        best: tuple[TaskScore, dict[str, Tensor]] | None = None
        since_best = 0
        with (
            torch.random.fork_rng(devices=[]),
            reporter.track("training the network from scratch", steps, "steps") as tracker,
        ):
            torch.manual_seed(self.seed)
            options = MotifOptions(
                num_filters=NUM_FILTERS, both_strands=self.both_strands, length=self.length
            )
            network = MotifNetwork(len(self.rows.label_space.names), options, seed=self.seed)
            network.branch.standardise([self._sample()])
            network.train()
            for step in self._train(network, steps):
                tracker.advance(1)
                if step % interval and step != steps:
                    continue
                score, _ = self._score(network, VALIDATION)
                since_best += 1
                if best is None or score.sort_key(self.metric) > best[0].sort_key(self.metric):
                    state = {name: value.clone() for name, value in network.state_dict().items()}
                    best, since_best = (score, state), 0
                if since_best == _PATIENCE:
                    break
        assert best is not None
        network.load_state_dict(best[1])
        test, predictions = self._score(network, TEST)
        return best[0], test, predictions

    def _sample(self) -> BaseRows:
        """Return training rows, for the statistics of the first step."""
        order = np.random.default_rng([self.seed, _SAMPLE]).permutation(self.rows.splits[TRAIN])
        number = max(min(_BASES_STANDARDISED // self.length, _ROWS_SCORED), 1)
        codes_NL = _padded([self.rows.codes[row] for row in order[:number]], self.length)
        return BaseRows.of_codes(torch.from_numpy(codes_NL))

    def _train(self, network: MotifNetwork, steps: int) -> Iterator[int]:
        """Take the steps of a training; yield the number of each."""
        train_rows = self.rows.splits[TRAIN]
        targets = stack_targets(
            self.rows.label_space, [self.rows.targets[row] for row in train_rows]
        )
        codes_NL = _padded([self.rows.codes[row] for row in train_rows], self.length)
        optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, _RATE, total_steps=steps + 1, pct_start=0.1
        )
        generator = np.random.default_rng([self.seed, _SEED_SHIFT])
        for step in range(1, steps + 1):
            index_B = generator.choice(len(codes_NL), min(_BATCH, len(codes_NL)), replace=False)
            batch_BL = codes_NL[index_B]
            is_hidden = generator.random(batch_BL.shape) < _HIDDEN_BASES
            batch_BL[is_hidden & (batch_BL < NUM_REAL_BASES)] = NUM_REAL_BASES
            batch_targets = targets[torch.from_numpy(index_B)]
            outputs_BC = network(torch.from_numpy(batch_BL))
            total = self.loss.total(outputs_BC, batch_targets) / self.loss.weight(batch_targets)
            optimizer.zero_grad()
            total.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            yield step

    @torch.no_grad()
    def _score(self, network: MotifNetwork, split: str) -> tuple[TaskScore, list[Floats]]:
        network.eval()
        rows = self.rows
        codes_NL = _padded([rows.codes[row] for row in rows.splits[split]], self.length)
        outputs_NC = torch.cat(
            [
                network(torch.from_numpy(codes_NL[first : first + _ROWS_SCORED]))
                for first in range(0, len(codes_NL), _ROWS_SCORED)
            ]
        )
        network.train()
        return evaluate_predictions(list(outputs_NC[:, None]), rows, split, self.loss)


def _padded(codes: Sequence[Codes], length: int) -> npt.NDArray[np.int64]:
    codes_NL = np.full((len(codes), length), PADDING, dtype=np.int64)
    for row, row_codes in enumerate(codes):
        codes_NL[row, : row_codes.size] = row_codes
    return codes_NL
