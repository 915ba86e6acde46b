#!/bin/sh
# The main job from end to end on the genomes that ship with the package, without any network:
# fetch -> tokenize -> pretrain -> embed -> release. Everything it makes lies in demo/.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
out="$here/demo"
promoters="$here/genomeformer_cli/assets/sequences/ecoli_promoters.fa"
GENOMEFORMER_HOME="$out/cache"
export GENOMEFORMER_HOME
mkdir -p "$out"

say() { printf '\n$ genomeformer %s\n' "$*" >&2; }
run() { say "$@"; genomeformer "$@"; }

run fetch --sample
run tokenize --all --split tail --name sample
run pretrain --corpus sample --name demo --preset tiny --attention softmax

say embed ecoli_promoters.fa --model demo --ids promoters.txt '> promoters.npy'
genomeformer embed "$promoters" --model demo --ids "$out/promoters.txt" \
    > "$out/promoters.npy"

rm -rf "$out/bundle"
run release demo --name gf-softmax-char-1m-sample --replace -o "$out/bundle"

cp "$GENOMEFORMER_HOME/runs/demo/loss.png" "$out/loss.png"
python - "$out" <<'PYTHON'
import sys
from pathlib import Path

import numpy

out = Path(sys.argv[1])
vectors = numpy.load(out / "promoters.npy")
assert not numpy.isnan(vectors).any()
print(f"\n{'what':9} where")
print(f"{'vectors':9} {out / 'promoters.npy'}  {vectors.shape} {vectors.dtype}")
print(f"{'ids':9} {out / 'promoters.txt'}")
print(f"{'bundle':9} {out / 'bundle'}")
print(f"{'picture':9} {out / 'loss.png'}")
PYTHON
