"""Fine-tuning: labels, splits, heads, metrics and predictions.

`targets` says what is asked, `splits` of whom, `rows` holds the sequences; `packing` makes them
tensors, `head` answers, `low_rank` adapts, `losses` and `measures` judge. `learning` joins these
for the loop of `core/training`; `answering` applies what was learned, `saved` keeps it.
"""
