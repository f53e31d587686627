"""How a recipe runs: passes, units, and the commit record that ends each unit.

`recipe` reads a recipe, `own` makes stages of users' modules, `plan` says what a pass is and what it waits for, and
`execute` runs one. `work` is the unit of per-document stages, which `chain` takes over a shard; `commit` is how every
unit ends. `barrier` is what the passes of all barriers share.
"""
