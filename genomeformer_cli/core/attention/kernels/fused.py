"""Choice of a kernel at run time: the plain path of a mechanism, or a fused kernel.

A mechanism calls `use_fused` before it computes. `auto` takes the fused kernel where the package,
the device, the dtype, the head width and the length allow it, `plain` never, `fused` always or
raises an error. The setting belongs to the process and not to a thread: backward passes recompute
blocks in threads of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, cast, get_args

import torch
from torch import Tensor

from genomeformer_cli.core.attention.kernels.cpu_blocking import product_dtype
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.settings import KERNELS_VARIABLE, kernel_setting

KernelChoice = Literal["auto", "plain", "fused"]
HINT = "`auto` uses fused kernels where it can, `plain` never"
_TORCH_OF_FLEX = (2, 7)
_DEVICE = "cuda"
_INSTALL = "pip install 'genomeformer[gpu]'"


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Properties of a call that decide between the kernels."""

    device_type: str  # Type of the device, such as `cuda`.
    dtype: torch.dtype  # Type of the matrix products.
    head_width: int  # Features per head.
    length: int  # Positions per row.


@dataclass(frozen=True, kw_only=True)
class FusedKernel:
    """Fused kernel of one or several mechanisms."""

    name: str  # Name of the library.
    missing: str  # Part of the installation that it lacks; empty if nothing.
    dtypes: tuple[torch.dtype, ...]  # Supported types of the matrix products.
    head_widths: range  # Supported widths.
    shortest: int  # Shorter rows are left to the plain path by `auto`.

    def obstacle(self, workload: Workload) -> str:
        """Return why the kernel cannot compute a call; empty if it can."""
        if self.missing:
            return self.missing
        if workload.device_type != _DEVICE:
            return f"it runs on `{_DEVICE}` devices, not on `{workload.device_type}`"
        if workload.dtype not in self.dtypes:
            names = " or ".join(dtype_name(dtype) for dtype in self.dtypes)
            return f"its products are in {names}, not in {dtype_name(workload.dtype)}"
        if workload.head_width not in self.head_widths:
            widths = self.head_widths
            return (
                f"a head has {workload.head_width} features; supported are even numbers from "
                f"{widths.start} to {widths.stop - 1}"
            )
        return ""


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a dtype without that of its package."""
    return str(dtype).removeprefix("torch.")


def _lacks(*packages: str) -> str:
    missing = [package for package in packages if find_spec(package) is None]
    if not missing:
        return ""
    if "triton" in missing:
        return "it needs `triton`, which torch's wheels for CUDA bring"
    return f"`{missing[0]}` is not installed: `{_INSTALL}`"


def _lacks_flex() -> str:
    numbers = torch.__version__.split(".")[:2]
    if tuple(map(int, numbers)) < _TORCH_OF_FLEX:
        return f"torch {torch.__version__} is too old: 2.7 or later has it"
    return _lacks("triton")


# In float32 its products would run in TF32, unlike those of the plain path.
FLASH_LINEAR = FusedKernel(
    name="flash-linear-attention",
    missing=_lacks("fla", "triton"),
    dtypes=(torch.bfloat16, torch.float16),
    head_widths=range(16, 257, 2),
    shortest=64,
)
FLEX = FusedKernel(
    name="FlexAttention",
    missing=_lacks_flex(),
    dtypes=(torch.bfloat16, torch.float16, torch.float32),
    head_widths=range(16, 257, 2),
    shortest=128,
)
KERNELS = (FLASH_LINEAR, FLEX)


@dataclass(kw_only=True)
class _Setting:
    choice: KernelChoice = "auto"
    dtype: torch.dtype | None = None


_SETTING = _Setting()


def set_kernels(choice: KernelChoice, dtype: torch.dtype | None = None) -> None:
    """Set the choice of kernels of the process.

    Args:
        choice: Setting.
        dtype: Type of the products of fused kernels; None: that of the plain path.
    """
    _SETTING.choice, _SETTING.dtype = choice, dtype


@contextmanager
def using_kernels(choice: KernelChoice, dtype: torch.dtype | None = None) -> Iterator[None]:
    """Set the choice of kernels while the body runs."""
    before = _SETTING.choice, _SETTING.dtype
    set_kernels(choice, dtype)
    try:
        yield
    finally:
        set_kernels(*before)


def environment_kernels() -> KernelChoice:
    """Return the choice of kernels in inference, which the environment sets.

    Raises:
        ConfigError: The value is invalid.
    """
    setting = kernel_setting()
    if setting not in get_args(KernelChoice):
        raise ConfigError(
            f"`{KERNELS_VARIABLE}`: invalid choice `{setting}`", hint=f"{HINT}, `fused` always"
        )
    return cast("KernelChoice", setting)


def fused_dtype(x: Tensor) -> torch.dtype:
    """Return the type of the products of a fused kernel with a tensor."""
    return _SETTING.dtype or product_dtype(x)


def use_fused(kernel: FusedKernel, mechanism: str, q_BHLD: Tensor) -> bool:
    """Return True if a call is left to a fused kernel.

    Args:
        kernel: Kernel of the mechanism.
        mechanism: Name for messages.
        q_BHLD: Queries of the call.

    Raises:
        ConfigError: The setting is `fused`, and the kernel cannot compute the call.
    """
    choice, device, length = _SETTING.choice, q_BHLD.device.type, q_BHLD.shape[2]
    # Tensors of the device `meta` have shapes and nothing to compute.
    if choice == "plain" or not length or device == "meta":
        return False
    if choice == "auto" and (device != _DEVICE or length < kernel.shortest):
        return False
    workload = Workload(
        device_type=device,
        dtype=fused_dtype(q_BHLD),
        head_width=q_BHLD.shape[-1],
        length=length,
    )
    obstacle = kernel.obstacle(workload)
    if obstacle and choice == "fused":
        raise no_fused_kernel(mechanism, f"{kernel.name}: {obstacle}")
    return not obstacle


def no_fused_kernel(mechanism: str, reason: str) -> ConfigError:
    """Build the error for a mechanism that has to run in a fused kernel and cannot."""
    return ConfigError(f"kernels `fused`: `{mechanism}` attention cannot: {reason}", hint=HINT)


def refuse_fused(mechanism: str, reason: str) -> None:
    """Check that a computation without a fused kernel need not run in one.

    Raises:
        ConfigError: The setting is `fused`.
    """
    if _SETTING.choice == "fused":
        raise no_fused_kernel(mechanism, reason)
