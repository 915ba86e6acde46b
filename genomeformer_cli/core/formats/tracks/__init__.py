"""Tracks along a genome, written as BED, GFF3, bedGraph or bigWig."""
