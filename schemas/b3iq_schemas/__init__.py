"""The contract of the network: every event, envelope, code and topic, and nothing that runs."""
