"""Collection of attention mechanisms.

`ops` holds one mechanism per file, each with its plain reference; `kernels` holds what several
mechanisms share; `registry` lists the mechanisms and their capabilities; `layer` adds projections,
heads and rotary positions.
"""
