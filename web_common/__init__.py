"""What the two servers have alike: who may ask, one shape of errors, limits of a body, and how a server is run."""
