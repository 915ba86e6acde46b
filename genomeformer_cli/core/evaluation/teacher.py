"""Teacher of a pretraining run: predictions and features of another model for every batch.

| vocabulary of the teacher         | targets                                                   |
|-----------------------------------|-----------------------------------------------------------|
| that of the corpus                | probabilities of its tokens, and features                 |
| other single bases                | probabilities of bases, and features                      |
| k-mers, side by side or one apart | probabilities of bases as `score` reads them; no features |
| pieces (byte pairs)               | refused: they give no probabilities of bases              |

The teacher never sees the base that it predicts: two stacks and causal models read the true tokens,
a masked model hides the targets of a masked student, or one token in `every` for another student.
It runs without a graph, on some rows at a time.
Shape letters: B batch, L length, R real tokens, F features of the teacher, V vocabulary.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor, nn

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.base_likelihood import check_scorable, check_single_bases
from genomeformer_cli.core.evaluation.token_bases import Cut, TokenBases
from genomeformer_cli.core.evaluation.tokenized_record import (
    ScoringOptions,
    TokenizedRecord,
    passes_of_record,
    use_record_logits,
)
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.protocol import Direction, Model
from genomeformer_cli.core.objectives.distillation import TeacherConfig, TeacherTargets, soften
from genomeformer_cli.core.objectives.loss import Examples
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.sequence import BASES, NUM_REAL_BASES, encode_bases
from genomeformer_cli.core.tokenizers.protocol import OrderedTokenizer
from genomeformer_cli.core.tokenizers.token_lengths import token_layout

_LN2 = float(np.log(2))


class Teacher:
    """Model that teaches, and the projection of the student's features.

    Args:
        loaded: Model, on the device of the student.
        student: Model in training.
        tokenizer: Tokenizer of the corpus.
        config: Weights of the loss terms.
        seed: Seed of the projection.

    Raises:
        ConfigError: The teacher cannot teach this student.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        student: Model,
        tokenizer: OrderedTokenizer,
        config: TeacherConfig,
        seed: int = 0,
    ) -> None:
        check_scorable(loaded)
        self._loaded, self._tokenizer, self._config = loaded, tokenizer, config
        self._model = loaded.model.eval().requires_grad_(requires_grad=False)
        self._student: Direction = student.config.direction
        self._shares_vocabulary = loaded.tokenizer.tokens == tokenizer.tokens
        self._check(student)
        self.projection: nn.Linear | None = None
        widths = (student.feature_width, self._model.feature_width)
        if config.features and widths[0] != widths[1]:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.projection = nn.Linear(*widths, bias=False)

    @cached_property
    def _is_by_base(self) -> bool:
        """True if each token of the teacher is one base or a token of the corpus."""
        return self._shares_vocabulary or TokenBases(self._loaded.tokenizer).cut is Cut.BASES

    def _check(self, student: Model) -> None:
        teacher = self._model.config
        if not self._shares_vocabulary:
            check_single_bases(self._loaded)
            if not self._tokenizer.one_token_per_base:
                raise ConfigError(
                    "the teacher has another vocabulary, and tokens of the corpus several bases",
                    hint="tokenize with `--tokenizer char`, or with the vocabulary of the teacher",
                )
        hides = objective_for(teacher.direction).hides_targets
        is_seen = self._shares_vocabulary and token_layout(self._tokenizer).overlaps
        if hides and is_seen and self._student != "bidirectional":
            raise ConfigError(
                "a masked teacher of overlapping k-mers would see the neighbours of each token",
                hint="`--objective masked`, or k-mers without overlap",
            )
        if self._config.features and not self._is_by_base:
            raise ConfigError(
                "the teacher has tokens of several bases, whose features belong to no base",
                hint="leave `teacher.features` at 0: its probabilities of bases are learned",
            )
        if teacher.direction == "causal" and self._student != "causal":
            raise ConfigError(
                "a causal teacher sees one side, and the model in training sees both",
                hint="`--objective causal`, or a teacher that sees both sides",
            )
        longest = self._model.max_positions or teacher.context
        if self._is_by_base and student.config.context > longest:
            raise ConfigError(
                f"windows of {student.config.context:,} tokens are longer than the {longest:,} "
                "that the teacher reads",
                hint=f"`--context {longest}` or less",
            )

    @torch.no_grad()
    def add_targets(self, examples: Examples, step: int) -> Examples:
        """Return a batch with the targets of the teacher."""
        batch, length = examples.inputs_BL.shape
        rows = max(self._config.tokens // length, 1)
        parts = [
            self._targets(examples.rows(slice(first, first + rows)), step)
            for first in range(0, batch, rows)
        ]
        features = [part.features_BLF for part in parts if part.features_BLF is not None]
        targets = replace(
            parts[0],
            nats_BLR=torch.cat([part.nats_BLR for part in parts]),
            weights_BL=torch.cat([part.weights_BL for part in parts]),
            features_BLF=torch.cat(features) if features else None,
        )
        return replace(examples, teacher=targets)

    def _targets(self, examples: Examples, step: int) -> TeacherTargets:
        targets_BL = examples.targets_BL
        tokens_BL = examples.inputs_BL
        is_causal = objective_for(self._student).is_causal
        if not is_causal:
            tokens_BL = torch.where(targets_BL >= 0, targets_BL, tokens_BL)
        if self._is_by_base:
            targets = self._by_token(examples, tokens_BL, step)
        else:
            targets = self._by_base(examples, tokens_BL, step)
        if is_causal and self._model.config.direction != "causal":
            # A causal student predicts the next token, the teacher the one at its own place.
            targets = targets.map(partial(torch.roll, shifts=-1, dims=1))
        return targets

    def _by_token(self, examples: Examples, tokens_BL: Tensor, step: int) -> TeacherTargets:
        """Return the targets of a teacher with one token per token of the corpus."""
        tokenizer, model = self._loaded.tokenizer, self._model
        weights_BL = torch.ones_like(tokens_BL, dtype=examples.weights_BL.dtype)
        inputs_BL = self._teacher_ids.to(tokens_BL.device)[tokens_BL]
        if objective_for(model.config.direction).hides_targets:
            assert tokenizer.mask_id is not None
            if self._student == "bidirectional":
                is_target_BL = examples.targets_BL >= 0
                # Random and unchanged tokens in place of a target would be seen.
                inputs_BL = inputs_BL.masked_fill(is_target_BL, tokenizer.mask_id)
            else:
                place_L = torch.arange(tokens_BL.shape[1], device=tokens_BL.device)
                is_hidden_L = (place_L + step) % self._config.every == 0
                inputs_BL = inputs_BL.masked_fill(is_hidden_L, tokenizer.mask_id)
                weights_BL = weights_BL * is_hidden_L * self._config.every
        features_BLF = model.hidden(inputs_BL, examples.mask_BL, examples.documents_BL)
        real = self._real_ids.to(tokens_BL.device)
        return TeacherTargets(
            config=self._config,
            nats_BLR=soften(model.logits(features_BLF)[..., real], self._config.temperature),
            weights_BL=weights_BL,
            features_BLF=features_BLF if self._config.features else None,
            projection=self.projection,
        )

    @cached_property
    def _teacher_ids(self) -> Tensor:
        """Ids of the teacher for the ids of the corpus."""
        if self._shares_vocabulary:
            return torch.arange(len(self._tokenizer.tokens))
        own = self._loaded.tokenizer
        unknown, *_ = own.encode(encode_bases("N")).tolist()
        by_base = {base: int(own.encode(encode_bases(base))[0]) for base in BASES}
        ids = [by_base.get(token, unknown) for token in self._tokenizer.tokens]
        ids[self._tokenizer.pad_id] = own.pad_id
        return torch.tensor(ids)

    @cached_property
    def _real_ids(self) -> Tensor:
        """Ids of the teacher that the real tokens of the corpus have."""
        real_ids = self._tokenizer.real_ids
        return self._teacher_ids[real_ids.start : real_ids.stop]

    def _by_base(self, examples: Examples, tokens_BL: Tensor, step: int) -> TeacherTargets:
        """Return the targets of a teacher of k-mers, for the documents of each row."""
        batch, length = tokens_BL.shape
        log2_BLR = np.full((batch, length, NUM_REAL_BASES), np.nan)
        weights_BL = np.zeros((batch, length))
        documents_BL = examples.documents_BL
        for row in range(batch):
            ids_L = tokens_BL[row].cpu().numpy()
            if documents_BL is not None:
                numbers = documents_BL[row].cpu().numpy()
            else:
                numbers = np.where(ids_L == self._tokenizer.pad_id, -1, 0)
            for document in range(int(numbers.max(initial=-1)) + 1):
                where = np.flatnonzero(numbers == document)
                text = self._tokenizer.decode(ids_L[where].astype(self._tokenizer.dtype))
                record = TokenizedRecord.of_codes(self._loaded, encode_bases(text))
                log2_LR = np.full((where.size, NUM_REAL_BASES), np.nan)
                rule = ScoringOptions(every=self._config.every, only=step)
                use_record_logits(record, rule, partial(record.write_bases, log2_LR))
                width = min(record.ids_T.size, self._model.config.context)
                log2_BLR[row, where] = log2_LR
                weights_BL[row, where] = passes_of_record(record, rule.every, max(width, 1))
        is_known_BL = np.isfinite(log2_BLR).all(axis=-1)
        nats_BLR = torch.from_numpy(np.where(is_known_BL[..., None], log2_BLR * _LN2, 0.0))
        weights = torch.from_numpy(weights_BL * is_known_BL)
        device, dtype = tokens_BL.device, examples.weights_BL.dtype
        return TeacherTargets(
            config=self._config,
            nats_BLR=soften(nats_BLR.to(device, dtype), self._config.temperature),
            weights_BL=weights.to(device, dtype),
        )
