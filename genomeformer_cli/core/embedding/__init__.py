"""From sequences to vectors.

`windows` cuts and batches, `embedder` runs the model and pools, `writers` save.
"""
