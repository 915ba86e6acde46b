"""Check that a bundle reveals neither paths of this machine nor the name of its user.

All texts of a bundle, the headers of its weights and its ONNX file are searched. The name of the
user is searched as a whole word, unless it is a generic one or part of the requested card.
"""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterator
from pathlib import Path

from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.model_io.bundle_layout import ONNX_FILE, PICTURES, list_files

# Shorter ones stand in any large file by chance.
_READABLE = re.compile(rb"[ -~]{16,}")
_PLACES = re.compile(
    r"(?<![\w.:/\-])(?:/(?:home|Users|root|tmp|var|mnt|media|opt|srv|usr|data|scratch|work|private)"
    r"/[\w.\-]+|[A-Za-z]:\\\\?[\w.\-]+)"
)
# Words that many machines call their users, and that say nothing of anybody.
_NOBODY = {"admin", "docker", "jovyan", "nobody", "root", "runner", "ubuntu", "user", "vscode"}
_SHORTEST_NAME = 3


def check_privacy(folder: Path, *, allowed: str = "") -> None:
    """Search a bundle for paths of this machine and for the name of its user.

    Args:
        folder: Folder of the bundle.
        allowed: Text that may occur: names of models and authors.

    Raises:
        CheckpointError: A path or the name occurs.
    """
    names = _user_names(allowed)
    for name in list_files(folder):
        if name.startswith(f"{PICTURES}/"):
            continue
        text = _readable_text(folder / name)
        for match in _private_texts(text, names):
            raise CheckpointError(
                f"`{name}` contains `{match}`, a path or user name of this machine",
                hint="name models, corpora and genomes without paths, and leave them out of notes",
            )


def _readable_text(path: Path) -> str:
    """Return the text of a file; of binary files, the readable parts."""
    with path.open("rb") as file:
        if path.suffix == ".safetensors":
            content = file.read(int.from_bytes(file.read(8), "little"))
        elif path.name == ONNX_FILE:
            content = b"\n".join(_READABLE.findall(file.read()))
        else:
            content = file.read()
    return content.decode("utf-8", errors="replace")


def _user_names(allowed: str) -> list[str]:
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        return []
    is_public = name in _NOBODY or len(name) < _SHORTEST_NAME or _has_word(allowed, name)
    return [] if is_public else [name]


def _has_word(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


def _private_texts(text: str, names: list[str]) -> Iterator[str]:
    for match in _PLACES.finditer(text):
        yield match.group()
    for place in {str(Path.home()), str(Path.cwd())}:
        # A root such as `/` stands in every URL.
        if len(Path(place).parts) > 2 and place in text:
            yield place
    for name in names:
        if _has_word(text, name):
            yield name
