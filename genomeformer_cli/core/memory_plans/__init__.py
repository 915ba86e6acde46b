"""Memory plans: each computes the same exact gradients in less memory.

`plans` is the table; `rows` cuts a batch into rows without padding; `whole` (full and checkpoint),
`slim`, `two_sweep`, `reversible` and `two_stack` are the plans; `forecast` says beforehand what
each will take; `stretches` has rows lie in several processes.
"""
