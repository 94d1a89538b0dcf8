"""A deterministic simulator of one partition: real owners and readers in a world of seeded faults and virtual time.

`python -m tests.sim SEED` replays one seed. A seed never names a place, a process or a clock of the machine it runs on.
"""
