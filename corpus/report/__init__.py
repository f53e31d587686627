"""The report: commit records -> the funnel of documents, as text, JSON and one HTML page.

`gather` reads the records, `funnel` sums them up, `estimate` says what the pre-screen of languages lost, `curve` draws
the training loss, `page` puts all of it on the page.
"""
