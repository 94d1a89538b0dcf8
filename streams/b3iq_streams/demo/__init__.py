"""The whole network on one machine: broker, processor, router, a simulated fleet and paid calls, for somebody to watch.

`command.py` is the command, `stage.py` what runs, `callers.py` who pays, `tail.py` what was in the log, `verdict.py`
whether a recount of it agrees; `screen.py` and `lines.py` show it. Nothing in the product imports this package.
"""
