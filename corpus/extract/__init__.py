"""Pages to text: `stage` is the stage, `extractors` has an extractor a file, `trafilatura_fast` finds trafilatura's
text in half the time.
"""
