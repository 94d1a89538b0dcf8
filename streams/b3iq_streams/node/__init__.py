"""The host agent: asks the local runtimes what they serve, and says so in signed heartbeats that never repeat a sequence."""
