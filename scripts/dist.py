"""Build the wheel and the sdist, check them, and use each as a user without the checkout would.

    make dist

Every archive is installed into an empty environment with the pins of `constraints.txt`; there, and
in an empty folder with an empty cache, it embeds sequences and pretrains a few steps. The checked
archives stay in `dist/`. Needs a package index.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import zipfile
from pathlib import Path, PurePosixPath

from packaging.metadata import Metadata

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 20_000_000
ASSETS = "genomeformer_cli/assets/"
# Files without which an archive may not be passed on: our licence, and those of the bundled data.
REQUIRED = {
    f"{ASSETS}genomes/manifest.json",
    f"{ASSETS}models/default/LICENSE",
    f"{ASSETS}models/default/README.md",
    f"{ASSETS}models/default/model.safetensors",
    "genomeformer_cli/py.typed",
}
FORBIDDEN = (".pyc", ".pt", ".pkl", ".bin", ".pth")

SMOKE = """
set -e
genomeformer --version
genomeformer fetch --sample
printf '>a\\nACGTTGCAACGTTGCA\\n>b\\nTTTTACGATTTACGAT\\n' | genomeformer embed - -o vectors.npy
python -c "import numpy; assert numpy.isfinite(numpy.load('vectors.npy')).all()"
genomeformer tokenize --genome NC_001422.1 --name phage
genomeformer pretrain --corpus phage --name run --steps 2
genomeformer embed $(ls -d "$GENOMEFORMER_HOME"/genomes/NC_001422.1/*.fa.gz) --model run -o run.npy
"""


def build(folder: Path) -> tuple[Path, Path]:
    """Build both archives with the pinned backend, and return the wheel and the sdist."""
    shutil.rmtree(folder, ignore_errors=True)
    call([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", folder])
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def call(
    command: list[str | Path],
    *,
    folder: Path | None = None,
    environment: dict[str, str] | None = None,
) -> None:
    """Run a command, and end with its output if it fails."""
    done = subprocess.run(  # noqa: S603 our own commands
        command, capture_output=True, text=True, check=False, cwd=folder, env=environment
    )
    if done.returncode:
        sys.exit(f"failed: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


def contents(archive: Path) -> dict[str, bytes | None]:
    """Return the names of the files of an archive; metadata files with their content."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            return {
                name: opened.read(name) if name.endswith("METADATA") else None
                for name in opened.namelist()
            }
    with tarfile.open(archive) as opened:
        found: dict[str, bytes | None] = {}
        for member in opened.getmembers():
            name = str(PurePosixPath(*PurePosixPath(member.name).parts[1:]))
            extracted = opened.extractfile(member) if name == "PKG-INFO" else None
            found[name] = extracted.read() if extracted else None
        return found


def problems_of(archive: Path, files: dict[str, bytes | None]) -> list[str]:
    """Return what keeps an archive from a release."""
    metadata = next(content for content in files.values() if content)
    parsed = Metadata.from_email(metadata, validate=True)
    problems = [f"`{name}` is missing" for name in sorted(REQUIRED - files.keys())]
    if not any(PurePosixPath(name).name == "LICENSE" and "assets" not in name for name in files):
        problems.append("our LICENSE is missing")
    problems += [f"`{name}` does not belong there" for name in files if name.endswith(FORBIDDEN)]
    if archive.suffix == ".whl":
        problems += [f"`{name}` is a test" for name in files if name.startswith("tests/")]
    if parsed.license_expression != "Apache-2.0":
        problems.append(f"the licence is {parsed.license_expression!r}")
    if archive.stat().st_size > MOST_BYTES:
        problems.append(f"{archive.stat().st_size:,} bytes, more than {MOST_BYTES:,}")
    return problems


def smoke(archive: Path) -> None:
    """Install an archive into an empty environment, and use it there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / "env", with_pip=True)
        python, constraints = folder / "env/bin/python", ROOT / "constraints.txt"
        pins = ["-c", str(constraints), "--build-constraint", str(constraints)]
        upgrade = ["install", "--quiet", "--upgrade", "-c", str(constraints), "pip"]
        call([python, "-m", "pip", *upgrade])
        call([python, "-m", "pip", "install", "--quiet", *pins, archive.resolve()])
        dropped = ("PYTHONPATH", "VIRTUAL_ENV", "GENOMEFORMER_CONFIG")
        environment = {key: value for key, value in os.environ.items() if key not in dropped}
        environment |= {
            "PATH": f"{folder / 'env/bin'}:{os.environ['PATH']}",
            "GENOMEFORMER_HOME": str(folder / "cache"),
        }
        (folder / "work").mkdir()
        call(["bash", "-c", SMOKE], folder=folder / "work", environment=environment)


def main() -> None:
    """Build, check, install and use both archives; exit with the first problem."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--no-install", action="store_true", help="build and check only")
    options = parser.parse_args()
    for archive in build(ROOT / "dist"):
        files = contents(archive)
        problems = problems_of(archive, files)
        if problems:
            sys.exit("\n".join([f"{archive.name}:", *problems]))
        sys.stdout.write(f"{archive.name}: {archive.stat().st_size:,} bytes, {len(files)} files\n")
        if not options.no_install:
            start = time.monotonic()
            smoke(archive)
            sys.stdout.write(f"  installed and used in {time.monotonic() - start:.0f} s\n")


if __name__ == "__main__":
    main()
