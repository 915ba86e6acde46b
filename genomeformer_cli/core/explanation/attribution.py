"""Attribution: the share of each base in one number that a model returns for a sequence.

| method | attribution of a base                                                            |
|--------|----------------------------------------------------------------------------------|
| `ism`  | the number minus its mean over the three substitutions of the base               |
| `grad` | gradient of the number at the base, minus the mean over the four bases           |
|        | (Majdandzic et al. 2023)                                                         |
| `ig`   | integrated gradients (Sundararajan et al. 2017) from equal shares of the bases:  |
|        | the attributions sum to the number minus that of the equal shares                |

The number is the log2-odds of a class or label of a fine-tuned model, a quantity, or the
log2-probability of one base of the sequence.
Shape letters: B rows, L length, R real bases, P real bases of all rows, C outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.base_likelihood import base_log2
from genomeformer_cli.core.evaluation.token_bases import TokenBases
from genomeformer_cli.core.evaluation.tokenized_record import ScoringOptions
from genomeformer_cli.core.explanation.soft_bases import check_soft_bases, soft_bases
from genomeformer_cli.core.finetuning.head import get_head, head_outputs
from genomeformer_cli.core.finetuning.inference import Predictor
from genomeformer_cli.core.finetuning.labels import LabelSpace, TaskKind
from genomeformer_cli.core.finetuning.motif_scanner import BaseRows
from genomeformer_cli.core.inference.cost import BatchCost
from genomeformer_cli.core.inference.worker_threads import run_tasks
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.encoder import padding_mask
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes

_LN2 = math.log(2)
_STEPS = 32
_CPU_TOKENS = 4_096

Floats = npt.NDArray[np.float64]


class Method(StrEnum):
    """Method of attribution."""

    ISM = "ism"
    GRAD = "grad"
    IG = "ig"


class Answer(Protocol):
    """Number that a model returns for a sequence."""

    @property
    def name(self) -> str:
        """Name of the number."""

    @property
    def model(self) -> Model:
        """Model that returns it."""

    def values(self, rows: Sequence[Codes]) -> Floats:
        """Return the number of every sequence, (B,)."""

    def check_gradients(self) -> None:
        """Check that the number has gradients by base.

        Raises:
            ConfigError: It has none.
        """

    def soft_values(self, codes: Codes, mixture_BPR: Tensor) -> Tensor:
        """Return the numbers (B,) of a sequence whose real bases are mixtures."""


@dataclass(frozen=True)
class TaskAnswer:
    """Output of a fine-tuned model."""

    predictor: Predictor
    index: int  # Index of the output.

    @property
    def model(self) -> Model:
        """Model with its head."""
        return self.predictor.model

    @property
    def name(self) -> str:
        """Name of the class, label or quantity."""
        return self.predictor.label_space.names[self.index]

    def values(self, rows: Sequence[Codes]) -> Floats:
        """Return the number of every sequence, (B,)."""
        outputs = torch.cat(self.predictor.outputs(rows))
        return self._number(outputs.double()).numpy()

    def check_gradients(self) -> None:
        """Check that the number has gradients by base.

        Raises:
            ConfigError: Tokens have several bases, or k-mer counts are added to the output.
        """
        check_soft_bases(self.predictor.collator.tokenizer)
        if get_head(self.predictor.model).linear is not None:
            raise ConfigError(
                "the model adds a linear model of k-mers or positions, which has no gradients",
                hint="use `--attribution ism`",
            )

    def soft_values(self, codes: Codes, mixture_BPR: Tensor) -> Tensor:
        """Return the numbers (B,) of a sequence whose real bases are mixtures."""
        outputs_BC = self._outputs(codes, mixture_BPR, is_reverse=False)
        if self.predictor.both_strands:
            outputs_BC = (outputs_BC + self._outputs(codes, mixture_BPR, is_reverse=True)) / 2
        head = get_head(self.model)
        if head.network is not None:
            codes_L = torch.tensor(codes, device=self.model.device)
            rows = BaseRows.of_codes(codes_L.expand(len(mixture_BPR), -1))
            network_BC = head.network(_mixed(rows, mixture_BPR))
            outputs_BC = head.stack_2[0] * outputs_BC + head.stack_2[1] * network_BC
        return self._number(outputs_BC)

    def _outputs(self, codes: Codes, mixture_BPR: Tensor, *, is_reverse: bool) -> Tensor:
        model, collator = self.predictor.model, self.predictor.collator
        num_rows = len(mixture_BPR)
        batch = collator.collate([codes] * num_rows, reverse=[is_reverse] * num_rows)
        batch = batch.to(model.device)
        if len(batch.tokens_WL) > num_rows:
            raise ConfigError(
                f"a sequence of {codes.size:,} bases is longer than the window of the model, "
                f"{collator.window:,} tokens",
                hint="use `--attribution ism`, or cut the sequence with `--tile`",
            )
        if is_reverse:
            mixture_BPR = mixture_BPR.flip(1, 2)
        mixture_PR = mixture_BPR.flatten(0, 1)
        reader, soft_BL = soft_bases(model, collator.tokenizer, batch.tokens_WL, mixture_PR)
        batch = replace(batch, tokens_WL=soft_BL)
        if get_head(model).motifs is not None:
            batch = replace(batch, shares_BRL=_mixed(batch.base_rows, mixture_BPR).bases_BRL)
        return head_outputs(reader, batch)

    def _number(self, outputs_BC: Tensor) -> Tensor:
        space = self.predictor.label_space
        output_B = outputs_BC[:, self.index]
        if space.kind is TaskKind.REGRESSION:
            return output_B * space.spreads[self.index] + space.means[self.index]
        if space.kind is TaskKind.MULTI_LABEL:
            return output_B / _LN2
        rest = [number for number in range(outputs_BC.shape[1]) if number != self.index]
        return (output_B - outputs_BC[:, rest].logsumexp(dim=1)) / _LN2


def _mixed(rows: BaseRows, mixture_BPR: Tensor) -> BaseRows:
    """Replace the real bases of rows by mixtures; the head computes in single precision."""
    shares_BLR = rows.bases_BRL.transpose(1, 2)
    is_real = (shares_BLR.sum(dim=-1) > 0,)
    shares_BLR = shares_BLR.index_put(is_real, mixture_BPR.flatten(0, 1).float())
    return replace(rows, bases_BRL=shares_BLR.transpose(1, 2))


@dataclass(frozen=True)
class BaseAnswer:
    """Log2-probability of the base of the sequence at one position, on the given strand."""

    loaded: LoadedModel
    position: int  # 0-based.
    base: int  # Code of the base.
    every: int  # Number of passes of a masked model.

    @property
    def model(self) -> Model:
        """Model that predicts the base."""
        return self.loaded.model

    @property
    def name(self) -> str:
        """Base and its position, from 1."""
        return f"{'ACGT'[self.base]}{self.position + 1}"

    def values(self, rows: Sequence[Codes]) -> Floats:
        """Return the number of every sequence, (B,)."""
        rule = ScoringOptions(every=self.every)
        log2 = [base_log2(self.loaded, row, rule)[self.position, self.base] for row in rows]
        return np.array(log2)

    def check_gradients(self) -> None:
        """Check that the number has gradients by base.

        Raises:
            ConfigError: Tokens have several bases.
        """
        check_soft_bases(self.loaded.tokenizer)

    def soft_values(self, codes: Codes, mixture_BPR: Tensor) -> Tensor:
        """Return the numbers (B,) of a sequence whose real bases are mixtures."""
        model, tokenizer = self.loaded.model, self.loaded.tokenizer
        objective = objective_for(model.config.direction)
        ids = torch.from_numpy(tokenizer.encode(codes).astype(np.int64)).to(model.device)
        tokens_BL = ids.expand(len(mixture_BPR), -1).clone()
        index_P = torch.from_numpy(np.flatnonzero(codes < NUM_REAL_BASES)).to(model.device)
        if objective.hides_targets:
            assert tokenizer.mask_id is not None
            hidden = torch.arange(self.position % self.every, codes.size, self.every)
            tokens_BL[:, hidden] = tokenizer.mask_id
            mixture_BPR = mixture_BPR[:, index_P % self.every != self.position % self.every]
        mask_BL = padding_mask(tokens_BL, tokenizer.pad_id)
        reader, soft_BL = soft_bases(model, tokenizer, tokens_BL, mixture_BPR.flatten(0, 1))
        features_BLE = reader.hidden(soft_BL, mask_BL)
        place = self.position - 1 if objective.is_causal else self.position
        bases = TokenBases(tokenizer)
        base_ids = torch.from_numpy(bases.ids_of_length(1)).to(model.device)
        logits_BR = model.logits(features_BLE[:, place])[:, base_ids]
        return functional.log_softmax(logits_BR, dim=-1)[:, self.base] / _LN2


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """Attributions of a sequence."""

    answer: str  # Name of the number.
    value: float  # Number of the sequence.
    base_L: Floats  # Attribution of each base; NaN at N.
    # Effect of A C G T at each base: `ism`: change by the substitution, `grad` and `ig`: gradient
    # minus its mean; NaN at N.
    effect_LR: Floats


def check_task(space: LabelSpace) -> None:
    """Check that a fine-tuned model has one answer per sequence.

    Raises:
        ConfigError: Every base has a label.
    """
    if space.is_per_base:
        raise ConfigError(
            "the model has a label for every base, no answer for a sequence",
            hint="explain a model of classes or quantities, or the model before fine-tuning",
        )


def attribute(answer: Answer, codes: Codes, method: Method) -> Attribution:
    """Return the attributions of a sequence with at least one real base.

    Raises:
        ConfigError: The number has no gradients.
    """
    known_P = np.flatnonzero(codes < NUM_REAL_BASES)
    effect_LR = np.full((codes.size, NUM_REAL_BASES), np.nan)
    base_L = np.full(codes.size, np.nan)
    value = float(answer.values([codes])[0])
    if method is Method.ISM:
        effect_LR[known_P] = _substituted(answer, codes, known_P) - value
        effect_LR[known_P, codes[known_P]] = 0
        base_L[known_P] = -effect_LR[known_P].sum(axis=1) / (NUM_REAL_BASES - 1)
    else:
        answer.check_gradients()
        is_mean = method is Method.IG
        gradient_PR = _mean_gradient(answer, codes, known_P, is_path=is_mean)
        effect_LR[known_P] = gradient_PR - gradient_PR.mean(axis=1, keepdims=True)
        base_L[known_P] = effect_LR[known_P, codes[known_P]]
    return Attribution(answer=answer.name, value=value, base_L=base_L, effect_LR=effect_LR)


def attribute_all(
    answers: Sequence[Answer],
    rows: Sequence[Codes],
    method: Method,
    progress: Callable[[int], None] = lambda num_bases: None,
) -> list[Attribution]:
    """Return the attributions of sequences with real bases; gradients in one thread per sequence.

    Args:
        answers: Number of each sequence; all of one model.
        rows: Base codes.
        method: Method of attribution; the substitutions of a sequence are threads of their own.
        progress: Receives the number of bases of each finished sequence.

    Raises:
        ConfigError: The number has no gradients.
    """
    pairs = list(zip(answers, rows, strict=True))
    if not pairs:
        return []

    def compute(pair: tuple[Answer, Codes]) -> Attribution:
        # Tensors of inference mode have no gradients.
        with torch.inference_mode(mode=False):
            return attribute(*pair, method)

    if method is Method.ISM:
        results = []
        for pair in pairs:
            results.append(attribute(*pair, method))
            progress(pair[1].size)
        return results
    model = answers[0].model
    cost = BatchCost.of_model(model)
    # The gradients need the activations of every layer.
    steps, depth = _STEPS if method is Method.IG else 1, model.config.depth
    shapes = [(depth * min(steps, _rows_at_once(codes)), codes.size) for codes in rows]
    return run_tasks(
        compute,
        pairs,
        device=model.device,
        demand=cost.demand(shapes),
        on_done=lambda pair: progress(pair[1].size),
    )


def _rows_at_once(codes: Codes) -> int:
    return max(_CPU_TOKENS // max(codes.size, 1), 1)


def _substituted(answer: Answer, codes: Codes, known_P: npt.NDArray[np.int64]) -> Floats:
    """Return the number of every single substitution, (P, R)."""
    mutants = np.repeat(codes[None], known_P.size * NUM_REAL_BASES, axis=0)
    rows = np.arange(len(mutants))
    mutants[rows, known_P.repeat(NUM_REAL_BASES)] = np.tile(np.arange(4), known_P.size)
    values = answer.values(list(mutants))
    return values.reshape(-1, NUM_REAL_BASES)


def _mean_gradient(
    answer: Answer, codes: Codes, known_P: npt.NDArray[np.int64], *, is_path: bool
) -> Floats:
    """Return the gradient (P, R) at the sequence, or its mean on the path from equal shares."""
    parameter = next(answer.model.parameters())
    real_PR = functional.one_hot(torch.from_numpy(codes[known_P].astype(np.int64)), NUM_REAL_BASES)
    real_PR = real_PR.to(device=parameter.device, dtype=parameter.dtype)
    shares, weights = np.ones(1), np.ones(1)
    if is_path:
        nodes, node_weights = np.polynomial.legendre.leggauss(_STEPS)
        shares, weights = (nodes + 1) / 2, node_weights / 2
    total_PR = np.zeros((known_P.size, NUM_REAL_BASES))
    at_once = _rows_at_once(codes)
    for first in range(0, len(shares), at_once):
        share_B = torch.from_numpy(shares[first : first + at_once]).to(real_PR)[:, None, None]
        equal = 1 / NUM_REAL_BASES
        mixture_BPR = (equal + share_B * (real_PR - equal)).requires_grad_()
        with torch.enable_grad():
            value = answer.soft_values(codes, mixture_BPR).sum()
            (gradient_BPR,) = torch.autograd.grad(value, mixture_BPR)
        weight_B = weights[first : first + at_once, None, None]
        total_PR += (gradient_BPR.double().cpu().numpy() * weight_B).sum(axis=0)
    return total_PR
