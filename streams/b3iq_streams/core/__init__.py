"""The pure core: no clock, network, files, logging, randomness or threads. Time is a parameter."""
