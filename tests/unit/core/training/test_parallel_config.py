"""Identity of a process, failures of several, and checks of their number."""

from __future__ import annotations

from pathlib import Path

import pytest

from genomeformer_cli.core.errors import (
    ConfigError,
    GenomeformerError,
    LostProcessError,
    RefusedError,
    TrainingError,
)
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.objectives.distillation import TeacherConfig
from genomeformer_cli.core.settings import LAUNCH_VARIABLE, is_main_process, process_rank
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.distributed import ProcessGroup
from genomeformer_cli.core.training.failure_file import (
    has_failure,
    read_failure,
    worker_failure,
    write_failure,
)
from genomeformer_cli.core.training.parallel_config import ParallelConfig

ELASTIC = {
    "RANK": "3",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "head",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "TORCHELASTIC_RESTART_COUNT": "2",
}
SRUN = {
    "SLURM_PROCID": "5",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "MASTER_ADDR": "head",
    "MASTER_PORT": "29500",
}


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*ELASTIC, *SRUN, LAUNCH_VARIABLE):
        monkeypatch.delenv(name, raising=False)


def put(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_a_teacher_refuses_sharding() -> None:
    teacher = TeacherConfig(model="large")
    for parallel in (ParallelConfig(shard=True), ParallelConfig(sequence_parallel=2)):
        with pytest.raises(ConfigError, match="teacher reads whole rows"):
            parallel.check_teacher(teacher)
        parallel.check_teacher(TeacherConfig())
    ParallelConfig(processes=2).check_teacher(teacher)


def test_torchrun_sets_the_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, ELASTIC)
    me = process_rank()
    assert me is not None
    assert (me.rank, me.size, me.local_rank, me.local_size) == (3, 8, 1, 2)
    assert (me.address, me.port, me.agent_listens, me.restarts) == ("head", 29500, True, 2)
    assert not is_main_process()
    monkeypatch.setenv("RANK", "0")
    assert is_main_process()


def test_srun_sets_the_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, SRUN)
    me = process_rank()
    assert me is not None
    assert (me.rank, me.size, me.local_rank, me.local_size) == (5, 8, 1, 4)
    assert not me.agent_listens


def test_a_batch_script_or_one_task_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert process_rank() is None
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert process_rank() is None
    put(monkeypatch, {"RANK": "0", "WORLD_SIZE": "1"})
    assert process_rank() is None
    assert is_main_process()


def test_one_of_several_must_be_told_where_the_others_are(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, SRUN)
    monkeypatch.delenv("MASTER_ADDR")
    with pytest.raises(ConfigError, match="MASTER_ADDR"):
        process_rank()
    put(monkeypatch, {**ELASTIC, "WORLD_SIZE": "many"})
    with pytest.raises(ConfigError, match="`many`, which is not a number"):
        process_rank()


@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (ConfigError("no", hint="yes"), ConfigError, "no"),
        (RefusedError("no", status=404), TrainingError, "unexpected RefusedError"),
        (ZeroDivisionError("by 0"), TrainingError, "unexpected ZeroDivisionError"),
    ],
)
def test_the_first_report_of_a_failure_is_kept(
    failure: Exception,
    kind: type[GenomeformerError],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not write_failure(failure)
    monkeypatch.setenv(LAUNCH_VARIABLE, str(tmp_path))
    assert not has_failure()
    assert write_failure(failure)
    assert write_failure(ConfigError("another"))
    assert has_failure()
    told = read_failure(tmp_path)
    assert type(told) is kind
    assert words in told.message
    assert told.hint


def test_transient_failures_are_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LAUNCH_VARIABLE, str(tmp_path))
    assert write_failure(LostProcessError("gone"))
    assert write_failure(RuntimeError("CUDA error: uncorrectable ECC error encountered"))
    assert not has_failure()
    assert read_failure(tmp_path) is None


def test_a_process_that_ended_is_reported_with_its_last_message(tmp_path: Path) -> None:
    (tmp_path / "logs" / "0" / "1").mkdir(parents=True)
    (tmp_path / "logs" / "0" / "1" / "stderr.log").write_text("first\nlast\n\n")
    told = worker_failure("process 1 of 2", -9, tmp_path, 3)
    assert told.message == "process 1 of 2 was ended by SIGKILL, after 3 restarts: last"
    assert "with exit code 70" in worker_failure("process 0 of 2", 70, tmp_path, 0).message


def test_rows_are_shared_evenly_and_all_of_them() -> None:
    for size, num_rows in ((1, 5), (2, 5), (3, 5), (4, 4)):
        shares = []
        for rank in range(size):
            group = ProcessGroup()
            group.share, group.num_shares = rank, size
            shares.append(list(range(num_rows))[group.rows(num_rows)])
        assert sum(shares, []) == list(range(num_rows))  # noqa: RUF017 - a few rows
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("plan", "model", "training"),
    [
        ("slim", ModelConfig(direction="causal"), TrainingConfig()),
        ("full", ModelConfig(residual="reversible"), TrainingConfig()),
        ("full", ModelConfig(), TrainingConfig(optimizer="muon")),
        ("full", ModelConfig(), TrainingConfig(ema=0.9)),
    ],
)
def test_unshardable_settings_name_the_supported_ones(
    plan: str, model: ModelConfig, training: TrainingConfig
) -> None:
    with pytest.raises(ConfigError, match=r"`parallel\.shard` cannot be combined with") as refused:
        ParallelConfig(gpus=2, shard=True).check_model(model, training, plan)
    assert "`--memory full` or `checkpoint`" in str(refused.value.hint)
    ParallelConfig(gpus=2).check_model(model, training, plan)


def test_devices_and_counts() -> None:
    assert ParallelConfig(gpus=4).num_processes == 4
    assert ParallelConfig(gpus=0, processes=3).num_processes == 3
    assert ParallelConfig(processes=3).on_cpu
    assert ParallelConfig(gpus=0).on_cpu
    assert not ParallelConfig().on_cpu
    ParallelConfig(processes=4, sequence_parallel=2).check_size(4)
