"""Training jobs: a table of jobs with leases, trainers that take over from each other, models published with their figures."""
