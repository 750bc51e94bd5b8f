"""MultitaskAIS: learn what ship traffic is normal in a region, and say which tracks are not.

sentence -> message -> report -> track -> sample -> log-likelihood -> verdict -> alert
"""

__version__ = "0.1.0"
