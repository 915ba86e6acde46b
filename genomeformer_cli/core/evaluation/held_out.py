"""The questions put to every model and table alike: what are these held-out bases?

One base in 64 is hidden at a time, so that its neighbours are visible to the model as they are to
the table; several disjoint sets are hidden in turn. Only real bases with `MARGIN` real bases on
both sides, within the window, are asked for, so that the widest table has its context and both
answer exactly the same questions.
Shape letters: W windows, L window length, P passes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.data.windows import consecutive_windows
from genomeformer_cli.core.errors import ConfigError

HIDE_ONE_IN = 64
MARGIN = 6


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Windows and the bases asked for.

    Attributes:
        tokens_WL: Token ids of the windows.
        hidden_PWL: True where a base is hidden, one layer a pass; no base is hidden in two passes.
        real_ids: Ids that can be an answer.
    """

    tokens_WL: npt.NDArray[np.int64]
    hidden_PWL: npt.NDArray[np.bool_]
    real_ids: range


def held_out_questions(corpus: Corpus, *, length: int, max_windows: int, passes: int) -> HeldOut:
    """Fixed questions on the validation split of a corpus.

    Args:
        corpus: The corpus.
        length: Tokens in a window.
        max_windows: The split is thinned evenly to this many windows.
        passes: How many of the 64 disjoint sets of bases are asked for.

    Raises:
        ConfigError: The validation split is too short to ask for a single base, or a token of the
            corpus is not a base.
    """
    if not corpus.tokenizer.one_token_a_base:
        raise ConfigError(
            f"the corpus `{corpus.manifest.name}` is of `{corpus.tokenizer.kind}` tokens, and only "
            "hidden bases can be compared with a table of counts",
            hint="pretrain on a corpus of `--tokenizer char`",
        )
    tokens_WL = consecutive_windows(
        corpus, "validation", length=length, limit=max_windows
    ).tokens_BL
    return one_in_many(tokens_WL, corpus.tokenizer.real_ids, passes)


def one_in_many(tokens_WL: npt.NDArray[np.int64], real_ids: range, passes: int) -> HeldOut:
    """One base in 64 is hidden at a time.

    Args:
        tokens_WL: Windows.
        real_ids: Ids that can be an answer.
        passes: How many of the 64 disjoint sets of bases are asked for.

    Raises:
        ConfigError: The windows are too short to ask for a single base.
    """
    askable_WL = askable(tokens_WL, real_ids)
    num_windows, length = tokens_WL.shape
    residues_WL = (np.arange(length)[None, :] + np.arange(num_windows)[:, None] * 7) % HIDE_ONE_IN
    offsets = np.linspace(0, HIDE_ONE_IN, min(passes, HIDE_ONE_IN), endpoint=False).astype(int)
    hidden_PWL = np.stack([askable_WL & (residues_WL == offset) for offset in offsets])
    return _asked(tokens_WL, hidden_PWL, real_ids)


def at_rate(
    tokens_WL: npt.NDArray[np.int64], real_ids: range, rate: float, generator: np.random.Generator
) -> HeldOut:
    """Bases are hidden together, each with the same chance, as in training.

    Raises:
        ConfigError: The windows are too short to ask for a single base.
    """
    askable_WL = askable(tokens_WL, real_ids)
    hidden_WL = askable_WL & (generator.random(tokens_WL.shape) < rate)
    return _asked(tokens_WL, hidden_WL[None], real_ids)


def all_at_once(tokens_WL: npt.NDArray[np.int64], real_ids: range) -> HeldOut:
    """Every base is asked for in one pass: for models that do not see what they predict.

    Raises:
        ConfigError: The windows are too short to ask for a single base.
    """
    return _asked(tokens_WL, askable(tokens_WL, real_ids)[None], real_ids)


def askable(tokens_WL: npt.NDArray[np.int64], real_ids: range) -> npt.NDArray[np.bool_]:
    """Real bases with `MARGIN` real bases on both sides within the window."""
    length = tokens_WL.shape[1]
    real_WL = (tokens_WL >= real_ids.start) & (tokens_WL < real_ids.stop)
    askable_WL = np.zeros_like(real_WL)
    reach = 2 * MARGIN + 1
    if length >= reach:
        surrounded = np.lib.stride_tricks.sliding_window_view(real_WL, reach, axis=1).all(axis=-1)
        askable_WL[:, MARGIN : length - MARGIN] = surrounded
    return askable_WL


def _asked(
    tokens_WL: npt.NDArray[np.int64], hidden_PWL: npt.NDArray[np.bool_], real_ids: range
) -> HeldOut:
    if not hidden_PWL.any():
        raise ConfigError(
            "the held-out part is too short to validate on",
            hint="hold out more, or shorten `--seq-len`",
        )
    return HeldOut(tokens_WL=tokens_WL, hidden_PWL=hidden_PWL, real_ids=real_ids)
