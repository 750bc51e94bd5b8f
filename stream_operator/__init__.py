"""The live operator: the core on a Kafka stream, exactly-once.

``worker/`` judges reports, ``commands/`` holds the other commands, ``kafka/`` the access to Kafka, ``map/`` the live map,
``devbroker/`` a development broker. ``worker/checkpoint.py`` is where state becomes durable.
"""
