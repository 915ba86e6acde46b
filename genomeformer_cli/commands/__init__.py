"""One file a command: parse, call one workflow, show. Slow imports wait until it runs."""
