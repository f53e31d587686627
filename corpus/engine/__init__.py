"""Engines: they run units of work, on this machine or on a cluster.

`base` is the interface between an engine and the units that it runs, `start` the table of engines. `local` supervises
processes on this machine, whose side is `worker`. `ray` places units on a Ray cluster: `cluster` is how the driver sees
it, `node` is what runs on its nodes. `history` is shared by both engines: what happened to a unit, and what follows.
"""
