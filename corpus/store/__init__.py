"""Where bytes lie: storages (folders and object stores), and the datasets of shards and commit records in them.

`base` is the promise that a storage keeps, `open` the table of storages and the functions that take a path of any of
them, `local` and `s3` the storages. `records`, `manifest` and `shards` are what a dataset consists of; `verify` checks
one.
"""
