"""Training batches and task of a run: the mixture of its groups, its teacher, messages about it."""

from __future__ import annotations

from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.data.mixture import open_mixture
from genomeformer_cli.core.evaluation.teacher import Teacher
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.objectives.distillation import TeacherConfig
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.training.batches import Batches
from genomeformer_cli.core.training.presets import PretrainConfig
from genomeformer_cli.core.training.task import PretrainingTask


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
    """Report the passes over each group, the teacher, and weights that change nothing."""
    epochs = batches.epochs()
    for group in batches.mixture.groups:
        reporter.note(
            f"mix `{group.name}`: {group.share:.1%} of the windows, {epochs[group.name]:.2f} epochs"
        )
    teacher = config.teacher
    if teacher.model is not None:
        reporter.note(
            f"teacher `{teacher.model}`: the loss has {1 - teacher.logits:g} of the cross-entropy, "
            f"{teacher.logits:g} of the divergence from it, {teacher.features:g} of the cosine "
            "distance from its features"
        )
    weights = (config.sampling.repeat_weight, config.masking.soft_mask_weight)
    if weights != (1, 1) and not corpus.manifest.has_soft_mask:
        reporter.warn(
            "the corpus has no lower-case bases: `masking.soft_mask_weight` and "
            "`sampling.repeat_weight` change nothing"
        )


def read_teacher(config: TeacherConfig, store: Store, reporter: Reporter) -> LoadedModel | None:
    """Read the teacher of a run; None without one.

    Raises:
        NotInCacheError, CheckpointError, CorruptError: The model cannot be loaded.
    """
    if config.model is None:
        return None
    return read_model(model_folder(config.model, store=store, reporter=reporter))


def pretraining_task(
    teacher: LoadedModel | None, model: Model, corpus: Corpus, config: PretrainConfig
) -> PretrainingTask:
    """Return the task of a run: prediction of bases, with the targets of a teacher if it has one.

    Raises:
        ConfigError: The teacher cannot teach this model.
    """
    per_token = not corpus.tokenizer.one_token_per_base
    if teacher is None:
        return PretrainingTask(per_token=per_token)
    teacher.model.to(model.device)
    targets = Teacher(teacher, model, corpus.tokenizer, config.teacher, config.training.seed)
    if targets.projection is not None:
        targets.projection.to(model.device)
    return PretrainingTask(
        per_token=per_token, add_targets=targets.add_targets, auxiliary=targets.projection
    )
