"""Find, download, load and save models: safetensors and JSON in sealed folders, nothing pickled.

`resolve` finds the model that a user names, in the cache (`find`), on the Hub (`hub`) or in an
archive (`archive`). `model_folder` reads and writes weights, configuration and tokenizer;
`training_state` adds the optimizer; `rotation` keeps the newest checkpoints of a run.
"""
