"""Environment variables, the garbage collector and usable cores of this process.

No other module reads environment variables.

| variable                | meaning                                                             |
|-------------------------|---------------------------------------------------------------------|
| `GENOMEFORMER_HOME`     | root of the cache; default: the platform's user cache               |
| `GENOMEFORMER_BASE_URL` | address of NCBI Datasets; default: NCBI                             |
| `GENOMEFORMER_FTP_URL`  | address of the genomes area (`/genomes`, `/pub`); default: NCBI     |
| `GENOMEFORMER_GTDB_URL` | address of a release of GTDB; default: the newest one          |
| `GENOMEFORMER_KERNELS`  | attention kernels in inference: `auto` (default), `plain`, `fused`  |
| `NCBI_API_KEY`          | NCBI key for a higher rate limit; never logged, shown or stored     |

Set by process launchers: `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `LOCAL_WORLD_SIZE`, `MASTER_ADDR`,
`MASTER_PORT` and two variables of torch elastic (torchrun and this package); `SLURM_PROCID`,
`SLURM_STEP_NUM_TASKS`, `SLURM_LOCALID`, `SLURM_STEP_TASKS_PER_NODE` (srun); `GENOMEFORMER_LAUNCH`
(this package: folder for the failures of started processes).
"""

from __future__ import annotations

import gc
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from genomeformer_cli.core.errors import ConfigError

HOME_VARIABLE = "GENOMEFORMER_HOME"
BASE_URL_VARIABLE = "GENOMEFORMER_BASE_URL"
FTP_URL_VARIABLE = "GENOMEFORMER_FTP_URL"
GTDB_URL_VARIABLE = "GENOMEFORMER_GTDB_URL"
KERNELS_VARIABLE = "GENOMEFORMER_KERNELS"
API_KEY_VARIABLE = "NCBI_API_KEY"
LAUNCH_VARIABLE = "GENOMEFORMER_LAUNCH"

DATASETS_URL = "https://api.ncbi.nlm.nih.gov/datasets/v2"
FTP_URL = "https://ftp.ncbi.nlm.nih.gov"
GTDB_URL = "https://data.gtdb.ecogenomic.org/releases/latest"


def cache_root() -> Path:
    """Return the root folder of the cache."""
    home = os.environ.get(HOME_VARIABLE)
    if home:
        return Path(home).expanduser().absolute()
    import platformdirs

    return platformdirs.user_cache_path("genomeformer", appauthor=False)


def base_url() -> str:
    """Return the address of NCBI Datasets."""
    return os.environ.get(BASE_URL_VARIABLE) or DATASETS_URL


def ftp_url() -> str:
    """Return the address of the genomes area."""
    return os.environ.get(FTP_URL_VARIABLE) or FTP_URL


def gtdb_url() -> str:
    """Return the address of a release of GTDB."""
    return os.environ.get(GTDB_URL_VARIABLE) or GTDB_URL


def kernel_setting() -> str:
    """Return the choice of attention kernels in inference."""
    return os.environ.get(KERNELS_VARIABLE) or "auto"


def api_key() -> str | None:
    """Return the user's NCBI key, if set."""
    return os.environ.get(API_KEY_VARIABLE) or None


def fresh_environment(cache: Path) -> dict[str, str]:
    """Return the environment with another cache, and without network access to the Hub."""
    return {**os.environ, HOME_VARIABLE: str(cache), "HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True, kw_only=True)
class ProcessRank:
    """Rank of this process in distributed training."""

    rank: int  # Global rank, from 0.
    size: int  # Number of processes.
    local_rank: int  # Rank on this machine.
    local_size: int  # Number of processes on this machine.
    address: str  # Address of the rendezvous store.
    port: int  # Port of the rendezvous store.
    agent_listens: bool = False  # True if the launcher hosts the store.
    restarts: int = 0  # Number of restarts of the process group.


def process_rank() -> ProcessRank | None:
    """Return the rank set by torchrun, srun or this package; None for a single process.

    Raises:
        ConfigError: The process has a rank, but no rendezvous address.
    """
    environment = os.environ
    if "RANK" in environment and "WORLD_SIZE" in environment:
        rank, size = _number("RANK"), _number("WORLD_SIZE")
        local_rank, local_size = _number("LOCAL_RANK", rank), _number("LOCAL_WORLD_SIZE", size)
    elif "SLURM_PROCID" in environment and "SLURM_STEP_NUM_TASKS" in environment:
        rank, size = _number("SLURM_PROCID"), _number("SLURM_STEP_NUM_TASKS")
        # `4(x2)` or `4,3`: tasks of each node.
        tasks = environment.get("SLURM_STEP_TASKS_PER_NODE", str(size)).partition("(")[0]
        local_rank, local_size = _number("SLURM_LOCALID", rank), int(tasks.partition(",")[0])
    else:
        return None
    if size == 1:
        return None
    if "MASTER_ADDR" not in environment or "MASTER_PORT" not in environment:
        raise ConfigError(
            f"this is process {rank} of {size}, but `MASTER_ADDR` and `MASTER_PORT` are not set",
            hint="export both in the batch script, or start it by `torchrun`: see the guide "
            "`cluster`",
        )
    return ProcessRank(
        rank=rank,
        size=size,
        local_rank=local_rank,
        local_size=local_size,
        address=environment["MASTER_ADDR"],
        port=_number("MASTER_PORT"),
        agent_listens=environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        restarts=_number("TORCHELASTIC_RESTART_COUNT", 0),
    )


def _number(variable: str, default: int | None = None) -> int:
    text = os.environ.get(variable)
    if text is None and default is not None:
        return default
    try:
        return int(text or "")
    except ValueError as failure:
        raise ConfigError(
            f"`{variable}` is `{text}`, which is not a number",
            hint="torchrun and srun set it; unset it otherwise",
        ) from failure


def is_main_process() -> bool:
    """Return True on a single process or rank 0, the only process with output."""
    try:
        process = process_rank()
    except ConfigError:
        return True
    return process is None or process.rank == 0


def has_launcher() -> bool:
    """Return True if torchrun, srun or this package started the process as one of several."""
    try:
        return launch_folder() is not None or process_rank() is not None
    except ConfigError:
        return True


def launch_folder() -> Path | None:
    """Return the folder for failures of a process started by this package, or None."""
    folder = os.environ.get(LAUNCH_VARIABLE)
    return Path(folder) if folder else None


def has_thread_setting() -> bool:
    """Return True if `OMP_NUM_THREADS` is set."""
    return "OMP_NUM_THREADS" in os.environ


def thread_setting() -> str | None:
    """Return the value of `OMP_NUM_THREADS`, if set."""
    return os.environ.get("OMP_NUM_THREADS")


def usable_cores() -> int:
    """Return the number of cores available to this process, or of the machine if unknown."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# Importing torch makes half a million objects and hardly any garbage.
_RARE_COLLECTION = 100_000
_DEFAULT_COLLECTION = gc.get_threshold()


def postpone_collection() -> None:
    """Collect garbage rarely until `resume_collection`: collections take a fifth of a start."""
    if "torch" not in sys.modules:
        gc.set_threshold(_RARE_COLLECTION, *_DEFAULT_COLLECTION[1:])


def resume_collection() -> None:
    """End `postpone_collection`; what was imported so far is never searched again."""
    if gc.get_threshold()[0] == _RARE_COLLECTION:
        gc.freeze()
        gc.set_threshold(*_DEFAULT_COLLECTION)
