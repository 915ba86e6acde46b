"""From a corpus to batches.

`windows` draws them as a pure function of (seed, step); `masking` hides bases.
"""
