"""One file per command: options, request, workflow, output. Slow imports run inside the command."""
