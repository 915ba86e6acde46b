"""Release: make, describe, verify and sign bundles; export ONNX.

`bundle` lays out a bundle, `card` writes its model card, `eval_report` reads results of `evaluate`;
`storage` reduces the precision and measures the loss, `verify` reads the bundle in a fresh process.
"""
