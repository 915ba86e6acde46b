"""Is it any good?

`held_out` fixes which bases are asked for; `likelihood` asks a model, `counts` and `chains` tables.
"""
