"""The live map: a process of its own that reads the operator's topics and serves one page to the watch officer.

    topics -> source (thread) -> picture (ships, alerts, answers) -> server (page, snapshot, stream of changes)
                                                                       |
                                        ais.feedback  <-  answers  <---+

It joins no consumer group, writes nothing but the officers' answers, and the worker knows nothing of it; so it can be
started, stopped and restarted at any time. All that it holds is read again from the topics at its start.
"""

from .cli import main

__all__ = ["main"]
