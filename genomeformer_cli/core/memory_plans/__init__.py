"""Memory plans: exact gradients in less memory.

`plans` is the registry; `autograd` (full and checkpoint), `slim`, `two_sweep`, `reversible` and
`two_stack` implement the plans; `unpad` splits a batch into rows without padding; `forecast`
predicts memory and time; `sequence_parallel` shards each row over processes.
"""
