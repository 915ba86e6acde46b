"""Training: `config`, `schedule`, `optimizer`, `metrics_writer` and the `loop`.

`distributed` holds the process group, `sequence_group` the exchanges of sequence parallelism,
`parallel_config` its settings, `failure_file` the errors of worker processes.
"""
