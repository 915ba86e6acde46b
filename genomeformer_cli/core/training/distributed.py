"""Process group of data-parallel, sharded or sequence-parallel training.

Every process holds the whole model, unless it is sharded, and computes its share of the rows of
each step. The all-reduced quantity is a sum over targets divided by the weight of all targets of
the step, so that a step equals that of one process up to the order of floating-point sums.
Only this module and `launcher`, which starts the processes, import `torch.distributed`.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store

from genomeformer_cli.core.errors import ConfigError, LostProcessError, TrainingError
from genomeformer_cli.core.objectives.loss import Prediction
from genomeformer_cli.core.settings import ProcessRank, launch_folder
from genomeformer_cli.core.training.sequence_group import ProcessSequenceGroup

_REACHED_WITHIN = timedelta(minutes=10)
_ANSWERED_WITHIN = timedelta(minutes=30)
# What one process makes for all may take long: a table of counts of a large corpus.
_MADE_WITHIN = timedelta(days=1)
_BUCKET_BYTES = 32 * 2**20
_LOOK_AFTER = 1.0


class ProcessGroup:
    """Processes that train one model; a group of one does not communicate.

    Args:
        member: This process; None: it is the only one.
        store: Key-value store shared by the processes.

    Attributes:
        rank: Rank of this process.
        size: Number of processes.
        local_size: Number of processes on this machine.
        sequence_group: Processes that share rows with this one; None if there are none.
        share: Index of this process's share of the rows of a step.
        num_shares: Number of shares.
        shards: True if each process holds only part of the weights.
        restarts: Number of restarts so far.
    """

    def __init__(self, member: ProcessRank | None = None, store: Store | None = None) -> None:
        self.rank = 0 if member is None else member.rank
        self.size = 1 if member is None else member.size
        self.local_size = 1 if member is None else member.local_size
        self.share, self.num_shares = self.rank, self.size
        self.sequence_group: ProcessSequenceGroup | None = None
        self.shards = False
        self.restarts = 0 if member is None else member.restarts
        self._store = store
        self._num_agreed = 0

    def form_sequence_groups(self, per_group: int) -> None:
        """Group neighbouring processes; each group shares the rows of a step."""
        if per_group > 1:
            self.share, self.num_shares = self.rank // per_group, self.size // per_group
            self.sequence_group = _sequence_group(self.rank, self.size, per_group)

    @property
    def is_main(self) -> bool:
        """True on the main process (rank 0), the only one that writes files and logs."""
        return self.rank == 0

    def rows(self, num_rows: int) -> slice:
        """Return this process's rows of a step: an even split, larger shares first."""
        bounds = [part * num_rows // self.num_shares for part in (self.share, self.share + 1)]
        return slice(*bounds)

    def broadcast_from_main(self, make: Callable[[], str]) -> str:
        """Call `make` on the main process and return its result on every process."""
        if self._store is None:
            return make()
        self._num_agreed += 1
        key = f"agreed/{self._num_agreed}"
        if self.is_main:
            self._store.set(key, make())
        else:
            self._store.wait([key], _MADE_WITHIN)
        value: str = self._store.get(key).decode()
        return value

    def broadcast_weights(self, model: nn.Module) -> None:
        """Copy parameters and buffers from rank 0 to every rank."""
        if self.size > 1 and not self.shards:
            for tensor in (*model.parameters(), *model.buffers()):
                dist.broadcast(tensor.detach(), src=0)

    def shard(self, model: nn.Module, parts: Sequence[nn.Module], methods: Sequence[str]) -> None:
        """Shard the weights (FSDP2); a module is gathered only while it computes.

        Gradients are reduced and sharded in the backward pass.

        Args:
            model: Model to shard.
            parts: Modules that are gathered one at a time.
            methods: Methods of the model that start a computation.

        Raises:
            ConfigError: The installed torch does not support it.
        """
        from torch.distributed import fsdp
        from torch.distributed.device_mesh import init_device_mesh

        if not hasattr(getattr(fsdp, "FSDPModule", None), "set_force_sum_reduction_for_comms"):
            raise ConfigError(
                "`parallel.shard` needs an FSDP2 that can sum gradients, which torch "
                f"{torch.__version__} lacks",
                hint="install torch 2.13, or leave `parallel.shard` out",
            )
        # A warning of what an in-place operation on the features would do; there is none.
        warnings.filterwarnings("ignore", "FSDP2-wrapped module")
        kind = "cpu" if next(model.parameters()).device.type == "cpu" else "cuda"
        mesh = init_device_mesh(kind, (self.size,))
        for module in (*parts, model):
            sharded: Any = fsdp.fully_shard(module, mesh=mesh)
            # A sum, not a mean: every share is divided by the weight of the whole step already.
            sharded.set_gradient_divide_factor(1.0)
            sharded.set_force_sum_reduction_for_comms(True)
        for method in methods:
            fsdp.register_fsdp_forward_method(model, method)
        self.shards = True

    def reshard(self, model: nn.Module) -> None:
        """Shard the weights again after a forward pass without a backward pass.

        FSDP leaves the outermost module gathered in this case, and its next gradients would count
        each share once per process.
        """
        if self.shards:
            for module in model.modules():
                reshard = getattr(module, "reshard", None)
                if reshard is not None:
                    reshard()

    def full_tensor(self, tensor: Tensor) -> Tensor:
        """Gather a sharded tensor on every process."""
        if not self.shards:
            return tensor
        from torch.distributed.tensor import DTensor

        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

    def shard_like(self, tensor: Tensor, like: Tensor) -> Tensor:
        """Return this process's shard of a full tensor, sharded like another tensor."""
        if not self.shards:
            return tensor
        from torch.distributed.tensor import DTensor, distribute_tensor

        if not isinstance(like, DTensor):
            return tensor
        tensor = tensor.to(like.device_mesh.device_type)
        return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)

    def all_reduce(self, model: nn.Module, part: Prediction) -> Prediction:
        """Sum scores over all processes, and gradients unless the model is sharded.

        Args:
            model: Model whose gradients become those of the whole step.
            part: Prediction of this process's share.

        Returns:
            Prediction of the whole step.
        """
        if self.size == 1:
            return part
        parameters = [] if self.shards else list(model.parameters())
        scores = (part.loss, part.bits, part.num_correct, float(part.num_targets))
        # A weight that no process has a gradient of is to be left alone by the optimizer.
        numbers = torch.tensor(
            [float(value) for value in scores]
            + [float(value.grad is not None) for value in parameters],
            dtype=torch.float64,
        )
        dist.all_reduce(numbers)
        sums = numbers.tolist()
        used = [
            parameter
            for parameter, times in zip(parameters, sums[len(scores) :], strict=True)
            if times
        ]
        for parameter in used:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        _add_up([parameter.grad for parameter in used if parameter.grad is not None])
        return Prediction(
            loss=torch.as_tensor(sums[0], dtype=part.loss.dtype),
            bits=torch.as_tensor(sums[1], dtype=part.bits.dtype),
            num_correct=torch.as_tensor(sums[2], dtype=part.num_correct.dtype),
            num_targets=int(sums[3]),
        )


SINGLE_PROCESS = ProcessGroup()


def _add_up(gradients: list[Tensor]) -> None:
    """Sum tensors over all processes in place, in buckets with several messages in flight."""
    under_way: list[tuple[list[Tensor], Tensor, Any]] = []
    for bucket in _buckets(gradients):
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        under_way.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
    for bucket, flat, work in under_way:
        work.wait()
        first = 0
        for gradient in bucket:
            gradient.copy_(flat[first : first + gradient.numel()].view_as(gradient))
            first += gradient.numel()


def _buckets(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for tensor in tensors:
        full = sum(member.nbytes for member in bucket) + tensor.nbytes > _BUCKET_BYTES
        if bucket and (full or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


class _Channel:
    """Messages between the processes of a sequence group."""

    def __init__(self, first: int, group: Any) -> None:
        self._first = first
        self._group = group
        self._under_way: list[tuple[Any, Tensor]] = []

    def send(self, message: Tensor, place: int, tag: int) -> None:
        if message.numel():
            work = dist.isend(message, dst=self._first + place, tag=tag)
            self._under_way.append((work, message))

    def recv(self, message: Tensor, place: int, tag: int) -> Tensor:
        if message.numel():
            dist.recv(message, src=self._first + place, tag=tag)
        return message

    def all_reduce(self, message: Tensor) -> None:
        dist.all_reduce(message, group=self._group)

    def flush(self) -> None:
        for work, _ in self._under_way:
            work.wait()
        self._under_way.clear()


def _sequence_group(rank: int, size: int, per_group: int) -> ProcessSequenceGroup:
    """Create the sequence group of a process; all processes create all groups in the same order."""
    firsts = range(0, size, per_group)
    groups = {first: dist.new_group(list(range(first, first + per_group))) for first in firsts}
    first = rank - rank % per_group
    return ProcessSequenceGroup(_Channel(first, groups[first]), rank - first, per_group)


@contextmanager
def join_process_group(member: ProcessRank | None, device: torch.device) -> Iterator[ProcessGroup]:
    """Join the process group for the duration of the context.

    Args:
        member: This process; None: it is the only one.
        device: Device of this process: `nccl` is used on GPUs, `gloo` otherwise.

    Raises:
        LostProcessError: Another process exited.
        TrainingError: The main process cannot be reached.
    """
    if member is None:
        yield SINGLE_PROCESS
        return
    _end_with_launcher(member)
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    try:
        store = _store(member)
        dist.init_process_group(
            backend, store=store, rank=member.rank, world_size=member.size, timeout=_ANSWERED_WITHIN
        )
    except RuntimeError as failure:
        raise TrainingError(
            f"process {member.rank} of {member.size} cannot join the others at "
            f"{member.address}:{member.port}: {_first_line(failure)}",
            hint="start all of them, and make `MASTER_ADDR` reachable from every node",
        ) from failure
    try:
        yield ProcessGroup(member, store)
    except RuntimeError as failure:
        if not _is_of_others(failure):
            raise
        raise LostProcessError(
            f"process {member.rank} of {member.size} lost another: {_first_line(failure)}",
            hint="the same command again resumes from the newest checkpoint",
        ) from failure
    dist.destroy_process_group()


def _store(member: ProcessRank) -> Store:
    listens = member.rank == 0 and not member.agent_listens
    store = dist.TCPStore(  # type: ignore[attr-defined]
        member.address,
        member.port,
        member.size,
        is_master=listens,
        timeout=_REACHED_WITHIN,
        wait_for_workers=False,
    )
    return PrefixStore(f"genomeformer/{member.restarts}", store)


def _is_of_others(failure: RuntimeError) -> bool:
    message = str(failure).lower()
    return isinstance(failure, dist.DistError) or "gloo" in message or "nccl" in message


def _first_line(failure: Exception) -> str:
    return str(failure).strip().partition("\n")[0]


def _end_with_launcher(member: ProcessRank) -> None:
    """Exit when the launcher exits, and at once when it is interrupted.

    The main process handles an interrupt as usual, to leave the terminal in order.
    """
    if launch_folder() is None:
        return
    if member.rank and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    launcher = os.getppid()

    def look() -> None:
        while os.getppid() == launcher:
            time.sleep(_LOOK_AFTER)
        os._exit(1)

    threading.Thread(target=look, name="launcher", daemon=True).start()
