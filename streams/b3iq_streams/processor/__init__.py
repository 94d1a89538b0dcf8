"""The shell that drives one partition owner per partition on Kafka; the only package that imports Faust.

| module | does |
|---|---|
| `app` | builds the Faust app, `run_worker` runs it |
| `tenure` | one partition while this worker owns it: recover, epoch after epoch, finish |
| `engine` | performs the owner's actions, one at a time |
| `transport` | Faust's consumer, with input batches diverted into the feed |
| `feed`, `inbox`, `prober` | what an epoch is made of: records up to end offsets asked after the clock |
| `reader`, `writer` | read back and append |
| `table` | the checkpoint image, its recovery |
| `guard` | end the process on anything unexpected, and when an epoch is overdue |
"""
