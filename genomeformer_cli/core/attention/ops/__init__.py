"""One file a mechanism: a pure function, its plain reference, and a small module that holds what it must keep."""
