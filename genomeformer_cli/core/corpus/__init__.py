"""Genomes tokenized once: `format` is the byte layout, `writer` and `reader` its two ends, `splits` who is held out."""
