"""Training batches of a run: the mixture of its groups, and messages about it."""

from __future__ import annotations

from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.data.mixture import open_mixture
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.training.batches import Batches
from genomeformer_cli.core.training.presets import PretrainConfig


def open_batches(
    corpus: Corpus, config: PretrainConfig, store: Store, reporter: Reporter
) -> Batches:
    """Return the batches of a run.

    Raises:
        ConfigError: The mixture names unknown groups, or the corpus lacks what the model needs.
    """
    mixture = open_mixture(corpus, config.sampling, store, reporter)
    return Batches(corpus, config.model, config.masking, config.training, mixture)


def report_sampling(
    batches: Batches, corpus: Corpus, config: PretrainConfig, reporter: Reporter
) -> None:
    """Report the passes over each group, and weights of repeats that change nothing."""
    epochs = batches.epochs()
    for group in batches.mixture.groups:
        reporter.note(
            f"mix `{group.name}`: {group.share:.1%} of the windows, {epochs[group.name]:.2f} epochs"
        )
    weights = (config.sampling.repeat_weight, config.masking.soft_mask_weight)
    if weights != (1, 1) and not corpus.manifest.has_soft_mask:
        reporter.warn(
            "the corpus has no lower-case bases: `masking.soft_mask_weight` and "
            "`sampling.repeat_weight` change nothing"
        )
