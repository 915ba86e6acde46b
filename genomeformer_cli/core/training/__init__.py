"""The training run: `config`, `schedule`, `optimizer`, `metrics` (the run's records), `loop`."""
