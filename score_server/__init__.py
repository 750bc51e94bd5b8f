"""Scoring on demand: reports in, anomalies with what was expected out, over HTTP."""
