"""Where bytes lie: storages (folders and object stores), and the datasets of shards and commit records in them.

`base` is the promise that a storage keeps, `open` the table of storages and the functions that take a path of any of
them. `local` is the file system; `s3`, `google` and `azure` are object stores, by `cloud`; `http` and `hub` can only be
read, by requests of `web`. `copies` makes local copies of models and lists. `records`, `manifest` and `shards` are what
a dataset consists of; `verify` checks one.
"""
