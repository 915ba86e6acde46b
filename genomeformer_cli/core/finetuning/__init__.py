"""Fine-tuning: labels, splits, heads, metrics and predictions.

`labels` defines the outputs, `splits` divides the rows, `dataset` holds the sequences. `collate`
builds tensors, `head` computes outputs, `lora` adds low-rank updates, `losses` and `metrics` score.
`task` connects them to the loop of `core/training`; `inference` predicts, `checkpoint` saves.
"""
