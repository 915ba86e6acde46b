"""A small NCBI on the loopback interface: taxa, assemblies, REST, files, and faults on demand.

`world` makes the content, `rest` and `files` answer in NCBI's shapes, `server` speaks HTTP and
misbehaves as the fault script of a URL says.
"""
