"""Helpers of the tests: what builds input, and the independent oracles."""
