"""Kernels that several mechanisms share; each has its plain reference beside it or in its test."""
