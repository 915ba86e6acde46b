"""One file a mechanism: a pure function, its plain reference, a small module for what it keeps."""
