"""Training batches from a corpus.

`windows` draws them as a pure function of (seed, step); `masking` hides bases.
"""
