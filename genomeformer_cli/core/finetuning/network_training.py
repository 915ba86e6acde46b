"""Training of a small convolutional network from random weights on labelled rows.

The weights with the best validation are kept.
Shape letters: N, B rows, L length, C outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genomeformer_cli.core.finetuning.batches import stack_targets
from genomeformer_cli.core.finetuning.dataset import LabelledRows
from genomeformer_cli.core.finetuning.inference import evaluate_predictions
from genomeformer_cli.core.finetuning.losses import Loss
from genomeformer_cli.core.finetuning.metrics import Floats, TaskScore
from genomeformer_cli.core.finetuning.motif_network import MotifNetwork, pad_codes
from genomeformer_cli.core.finetuning.motif_scanner import BaseRows, MotifOptions
from genomeformer_cli.core.finetuning.splits import TRAIN, VALIDATION
from genomeformer_cli.core.model_io.tensors import read_tensors, write_tensors
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import NUM_REAL_BASES
from genomeformer_cli.core.store.atomic import atomic_folder
from genomeformer_cli.core.store.seal import check_seal, seal

NUM_FILTERS = 128
MAX_EPOCHS = 8
# Bases of a training, both strands counted: bounds the time to some minutes of one core.
MAX_BASES = 1 << 24
_BATCH, _BASES_PER_STEP, _ROWS_SAMPLED = 128, 1 << 16, 512
_RATE, _DECAY, _HIDDEN_BASES = 2e-3, 0.05, 0.03
_NUM_VALIDATIONS, _PATIENCE = 8, 3
_SEED_SHIFT, _SAMPLE, _BASES_STANDARDISED = 41, 43, 1 << 17
_FILE = "network.safetensors"


@dataclass(frozen=True, kw_only=True)
class NetworkTraining:
    """Training of a network on labelled rows."""

    rows: LabelledRows  # Labelled rows, one label per row.
    loss: Loss  # Loss of the task, with its class weights.
    both_strands: bool  # Average the outputs of both strands.
    metric: str  # Validation metric.
    seed: int  # Seed of the weights, the order of rows, and dropout.
    device: torch.device | str = "cpu"  # Device of the computation.
    folder: Path | None = None  # Folder of the trained network; None: it is not saved.

    @property
    def options(self) -> MotifOptions:
        """Shape of the scanner; its length is that of the longest training row."""
        length = max(self.rows.codes[row].size for row in self.rows.splits[TRAIN])
        return MotifOptions(num_filters=NUM_FILTERS, both_strands=self.both_strands, length=length)

    @property
    def steps(self) -> int:
        """Maximum number of steps."""
        num_rows, batch = len(self.rows.splits[TRAIN]), self._batch_size
        num_strands = 2 if self.both_strands else 1
        max_steps = max(MAX_BASES // (batch * self.options.length * num_strands), 1)
        return min(max(MAX_EPOCHS * num_rows // batch, _NUM_VALIDATIONS), max_steps)

    @property
    def _batch_size(self) -> int:
        """Rows of a step; fewer if they are long."""
        most = min(_BATCH, _BASES_PER_STEP // self.options.length)
        return max(min(most, len(self.rows.splits[TRAIN])), 1)

    def fit(self, reporter: Reporter) -> MotifNetwork:
        """Train a network; return it with the weights of the best validation."""
        steps = self.steps
        interval = max(steps // _NUM_VALIDATIONS, 1)
        best: tuple[TaskScore, dict[str, Tensor]] | None = None
        since_best = 0
        with (
            torch.random.fork_rng(devices=[]),
            reporter.track("training the network from scratch", steps, "steps") as tracker,
        ):
            torch.manual_seed(self.seed)
            network = self._build()
            network.branch.standardise([self._sample()])
            network.to(self.device).train()
            for step in self._train(network, steps):
                tracker.advance(1)
                if step % interval and step != steps:
                    continue
                score, _ = self.evaluate(network, VALIDATION)
                since_best += 1
                if best is None or score.sort_key(self.metric) > best[0].sort_key(self.metric):
                    state = {name: value.clone() for name, value in network.state_dict().items()}
                    best, since_best = (score, state), 0
                if since_best == _PATIENCE:
                    break
        assert best is not None
        network.load_state_dict(best[1])
        return network.eval()

    def load_or_fit(self, reporter: Reporter) -> MotifNetwork:
        """Load the saved network, or train one and save it.

        Raises:
            CorruptError: The folder is damaged.
        """
        folder = self.folder
        if folder is None or not folder.exists():
            network = self.fit(reporter)
            if folder is None:
                return network
            folder.parent.mkdir(parents=True, exist_ok=True)
            with atomic_folder(folder) as partial:
                tensors = network.state_dict()
                write_tensors({name: tensors[name].cpu() for name in tensors}, partial / _FILE)
                seal(partial)
            return network
        check_seal(folder)
        network = self._build().to(self.device)
        network.load_state_dict(read_tensors(folder / _FILE))
        return network.eval()

    def evaluate(self, network: MotifNetwork, split: str) -> tuple[TaskScore, list[Floats]]:
        """Return the score on a split of the rows, and the predictions."""
        outputs_NC = network.outputs([self.rows.codes[row] for row in self.rows.splits[split]])
        return evaluate_predictions(list(outputs_NC[:, None]), self.rows, split, self.loss)

    def _build(self) -> MotifNetwork:
        return MotifNetwork(len(self.rows.label_space.names), self.options, seed=self.seed)

    def _sample(self) -> BaseRows:
        """Return training rows, for the statistics of the first step."""
        order = np.random.default_rng([self.seed, _SAMPLE]).permutation(self.rows.splits[TRAIN])
        number = max(min(_BASES_STANDARDISED // self.options.length, _ROWS_SAMPLED), 1)
        return BaseRows.of_codes(pad_codes([self.rows.codes[row] for row in order[:number]]))

    def _train(self, network: MotifNetwork, steps: int) -> Iterator[int]:
        """Take the steps of a training; yield the number of each."""
        train_rows = self.rows.splits[TRAIN]
        targets = stack_targets(
            self.rows.label_space, [self.rows.targets[row] for row in train_rows]
        )
        optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, _RATE, total_steps=steps + 1, pct_start=0.1
        )
        generator = np.random.default_rng([self.seed, _SEED_SHIFT])
        for step in range(1, steps + 1):
            index_B = generator.choice(len(train_rows), self._batch_size, replace=False)
            batch_BL = pad_codes([self.rows.codes[row] for row in train_rows[index_B]]).numpy()
            is_hidden = generator.random(batch_BL.shape) < _HIDDEN_BASES
            batch_BL[is_hidden & (batch_BL < NUM_REAL_BASES)] = NUM_REAL_BASES
            batch_targets = targets[torch.from_numpy(index_B)].to(self.device)
            batch = BaseRows.of_codes(torch.from_numpy(batch_BL).to(self.device))
            outputs_BC = network(batch)
            total = self.loss.total(outputs_BC, batch_targets) / self.loss.weight(batch_targets)
            optimizer.zero_grad()
            total.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            yield step
