"""Access to Kafka: clients, topics, and the records on the wire."""
