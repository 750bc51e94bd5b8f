"""Seeded faults against a real broker and real workers, and the comparison with a run that had none."""
