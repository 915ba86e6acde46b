"""Models and training state on disk: safetensors and JSON in sealed folders, nothing pickled.

`weights` is a model with its configuration and tokenizer; `state` what training needs to go on;
`rotation` keeps the newest checkpoints of a run and finds the newest whole one.
"""
