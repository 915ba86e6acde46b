"""What the environment decides. The one place that reads environment variables.

| variable                | meaning                                                             |
|-------------------------|---------------------------------------------------------------------|
| `GENOMEFORMER_HOME`     | root of the cache; else the platform's user cache                   |
| `GENOMEFORMER_BASE_URL` | where NCBI Datasets is; else NCBI itself                            |
| `GENOMEFORMER_FTP_URL`  | where the genomes area (`/genomes`, `/pub`) is; else NCBI itself    |
| `NCBI_API_KEY`          | NCBI's key for more requests a second; never logged, shown or kept  |

Set by what starts several processes, not by a person: `RANK`, `WORLD_SIZE`, `LOCAL_RANK`,
`LOCAL_WORLD_SIZE`, `MASTER_ADDR`, `MASTER_PORT` and torch elastic's two (torchrun and ourselves);
`SLURM_PROCID`, `SLURM_STEP_NUM_TASKS`, `SLURM_LOCALID`, `SLURM_STEP_TASKS_PER_NODE` (srun);
`GENOMEFORMER_LAUNCH` (ourselves: where the processes that we started leave word).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from genomeformer_cli.core.errors import ConfigError

HOME_VARIABLE = "GENOMEFORMER_HOME"
BASE_URL_VARIABLE = "GENOMEFORMER_BASE_URL"
FTP_URL_VARIABLE = "GENOMEFORMER_FTP_URL"
API_KEY_VARIABLE = "NCBI_API_KEY"
LAUNCH_VARIABLE = "GENOMEFORMER_LAUNCH"

DATASETS_URL = "https://api.ncbi.nlm.nih.gov/datasets/v2"
FTP_URL = "https://ftp.ncbi.nlm.nih.gov"


def cache_root() -> Path:
    """The folder that holds genomes, vocabularies, corpora, runs and weights."""
    chosen = os.environ.get(HOME_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    return platformdirs.user_cache_path("genomeformer", appauthor=False)


def base_url() -> str:
    """Where NCBI Datasets is."""
    return os.environ.get(BASE_URL_VARIABLE) or DATASETS_URL


def ftp_url() -> str:
    """Where the genomes area is."""
    return os.environ.get(FTP_URL_VARIABLE) or FTP_URL


def api_key() -> str | None:
    """The user's NCBI key, if there is one."""
    return os.environ.get(API_KEY_VARIABLE) or None


def fresh_environment(cache: Path) -> dict[str, str]:
    """This process's environment with another cache, and without the network of the Hub."""
    return {**os.environ, HOME_VARIABLE: str(cache), "HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True, kw_only=True)
class Member:
    """This process among those that were started to train together.

    Attributes:
        rank: Which one it is, from 0.
        size: How many there are.
        local_rank: Which one of this machine.
        local_size: How many are on this machine.
        address: Where the first one, or what started it, is listening.
        port: On which port.
        agent_listens: Whether what started them is listening there itself.
        restarts: How often all of them were started again.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    address: str
    port: int
    agent_listens: bool = False
    restarts: int = 0


def member() -> Member | None:
    """What torchrun, srun or we ourselves say of this process; None if it is alone.

    Raises:
        ConfigError: It is one of several, and not told where the others are.
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
            f"this is process {rank} of {size}, and `MASTER_ADDR` and `MASTER_PORT` do not say "
            "where the others are",
            hint="export both in the batch script, or start it by `torchrun`: see the guide "
            "`cluster`",
        )
    return Member(
        rank=rank,
        size=size,
        local_rank=local_rank,
        local_size=local_size,
        address=environment["MASTER_ADDR"],
        port=_number("MASTER_PORT"),
        agent_listens=environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        restarts=_number("TORCHELASTIC_RESTART_COUNT", 0),
    )


def _number(variable: str, otherwise: int | None = None) -> int:
    text = os.environ.get(variable)
    if text is None and otherwise is not None:
        return otherwise
    try:
        return int(text or "")
    except ValueError as failure:
        raise ConfigError(
            f"`{variable}` is `{text}`, which is no number",
            hint="torchrun and srun set it; leave it alone",
        ) from failure


def speaks() -> bool:
    """Whether this process is to say and show anything: it is alone, or the first of several."""
    try:
        me = member()
    except ConfigError:
        return True
    return me is None or me.rank == 0


def launch_folder() -> Path | None:
    """Where this process leaves word for the one of ours that started it; None if none did."""
    folder = os.environ.get(LAUNCH_VARIABLE)
    return Path(folder) if folder else None


def threads_are_chosen() -> bool:
    """Whether `OMP_NUM_THREADS` says how many threads to use."""
    return "OMP_NUM_THREADS" in os.environ


def usable_cores() -> int:
    """Cores that this process may use; where the system does not say, those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
