"""Writer of BGZF, the gzip of small blocks that `bgzip` and `tabix` read (SAM specification, 4.1).

Any gzip reader opens such a file. Equal text gives equal bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import IO

_BLOCK = 65_280
_LEVEL = 6
_HEADER = struct.Struct("<4BI2BH2BHH")
_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def write_bgzf(out: IO[bytes], chunks: Iterable[bytes]) -> None:
    """Compress chunks of bytes into blocks, and end the file with the empty block.

    Args:
        out: Binary file.
        chunks: Bytes of any sizes.
    """
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        while len(waiting) >= _BLOCK:
            out.write(_block(bytes(waiting[:_BLOCK])))
            del waiting[:_BLOCK]
    if waiting:
        out.write(_block(bytes(waiting)))
    out.write(_END)


def _block(data: bytes) -> bytes:
    """Return one gzip member whose extra field holds its size."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = compressor.compress(data) + compressor.flush()
    size = _HEADER.size + len(packed) + 8
    header = _HEADER.pack(0x1F, 0x8B, 8, 4, 0, 0, 0xFF, 6, ord("B"), ord("C"), 2, size - 1)
    return header + packed + struct.pack("<II", zlib.crc32(data), len(data))
