"""Readers of the file formats that users bring: one reader per format, one text layer beneath."""
