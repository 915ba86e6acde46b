"""The collection of attention mechanisms.

`ops` holds the mathematics, one file a mechanism, each with its plain reference; `features` what
several share; `registry` is the table of what there is and what each can do; `layer` puts
projections, heads and positions around one.
"""
