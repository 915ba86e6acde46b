"""URLs of an assembly's files in the genomes area, and the format of `md5checksums.txt`."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.genomes.ncbi.assembly import check_accession

SUFFIXES = {"fasta": "_genomic.fna.gz", "gff": "_genomic.gff.gz", "gbff": "_genomic.gbff.gz"}
# Bytes of the gzip'd file per base, for the estimate before a download.
BYTES_PER_BASE = {"fasta": 0.31, "gff": 0.08, "gbff": 0.45}
MD5_FILE = "md5checksums.txt"

_AREA = "/genomes/all/"
_ODD = re.compile(r"[\s\\/,#()]")
_MD5_LINE = re.compile(r"([0-9a-fA-F]{32})\s+\*?(?:\./)?(\S.*)")
_SAFE = "/:+~=@!$&'*;-._"


def computed_directory(accession: str, name: str, root: str) -> str:
    """Return the URL of an assembly's directory, by NCBI's naming rule."""
    kind, digits = check_accession(accession).partition(".")[0].split("_")
    folder = f"{accession}_{_ODD.sub('_', name)}"
    groups = "/".join((digits[0:3], digits[3:6], digits[6:9]))
    return f"{root.rstrip('/')}{_AREA}{kind}/{groups}/{quote(folder, safe=_SAFE)}"


def rebase(url: str, root: str) -> str:
    """Move a URL of the genomes area (`https://` or `ftp://`) to another root.

    Raises:
        ConfigError: The URL is outside the genomes area.
    """
    path = urlsplit(url.replace("#", "%23")).path.rstrip("/")
    position = path.find(_AREA)
    if position < 0 or ".." in unquote(path).split("/"):
        raise ConfigError(
            f"`{url}` is not in NCBI's genomes area", hint=f"its path starts with `{_AREA}`"
        )
    return root.rstrip("/") + path[position:]


def file_name(directory: str, kind: str) -> str:
    """Return the name of a format's file in a directory: the folder name plus a suffix."""
    return unquote(directory.rstrip("/").rsplit("/", 1)[1]) + SUFFIXES[kind]


def file_url(directory: str, name: str) -> str:
    """Return the URL of a file in a directory."""
    return f"{directory.rstrip('/')}/{quote(name, safe=_SAFE)}"


def name_of(url: str) -> str:
    """Return the file name in a URL.

    Raises:
        ConfigError: The name is unsafe or missing.
    """
    name = unquote(urlsplit(url).path.rsplit("/", 1)[1])
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise ConfigError(
            f"`{url}` does not name a file", hint="the lock file or the address is damaged"
        )
    return name


def parse_md5s(content: bytes) -> dict[str, str]:
    """Parse `md5checksums.txt` to MD5 by file name.

    Raises:
        ValueError: The content is not a list of checksums (an error page, say).
    """
    md5s = {}
    for line in content.decode("utf-8", errors="replace").splitlines():
        match = _MD5_LINE.fullmatch(line.strip())
        if match is None:
            if line.strip():
                raise ValueError(f"invalid checksum line: {line.strip()[:40]!r}")
            continue
        md5s[match[2]] = match[1].lower()
    if not md5s:
        raise ValueError("no checksums")
    return md5s
