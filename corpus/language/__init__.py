"""Language ID: `stage` judges the text of a document, `prescreen` looks at a page before its text is extracted. The
models are in `models`, a file each.
"""
