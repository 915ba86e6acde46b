"""One very small trained model for the whole session: a cache with its genome, corpus and run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.one_process import stay_in_one_process

CORPUS = "phage"
RUN = "run"
RELEASED = "released"
WIDTH = 16
SMALL = {
    "model": {
        "width": WIDTH,
        "depth": 1,
        "num_heads": 2,
        "mlp_width": 32,
        "context": 64,
        "attention": {"name": "performer", "num_features": 8},
    },
    "training": {
        "steps": 4,
        "batch_size": 4,
        "validation_windows": 8,
        "validate_every": 2,
        "checkpoint_every": 2,
    },
}


@pytest.fixture(scope="session")
def trained_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phage phiX174, the corpus `phage`, the finished run `run`, the model `released`."""
    from genomeformer_cli.core.genomes.sample import install_sample, sample_genomes
    from genomeformer_cli.core.reporting import SilentReporter
    from genomeformer_cli.core.store.layout import Store
    from genomeformer_cli.core.workflows.pretrain import PretrainRequest, pretrain_model
    from genomeformer_cli.core.workflows.release import ReleaseRequest, release_run
    from genomeformer_cli.core.workflows.tokenize import TokenizeRequest, tokenize_genomes

    store, reporter = Store(tmp_path_factory.mktemp("trained") / "cache"), SilentReporter()
    install_sample(sample_genomes()[0], store=store)
    tokenize = TokenizeRequest(name=CORPUS, all_genomes=True)
    tokenize_genomes(tokenize, reporter=reporter, store=store)
    pretrain = PretrainRequest(corpus=CORPUS, name=RUN, overrides=SMALL, device="cpu", threads=1)
    pretrain_model(pretrain, reporter=reporter, store=store)
    with pytest.MonkeyPatch.context() as patch:
        stay_in_one_process(patch)
        release_run(ReleaseRequest(run=RUN, name=RELEASED), reporter=reporter, store=store)
    return store.root


@pytest.fixture
def trained(trained_cache: Path, cache_home: Path) -> Path:
    """This test's own cache, with the trained model in it."""
    return Path(shutil.copytree(trained_cache, cache_home))
