"""Files of a crawl, downloaded: which there are (paths), one of them (download), all that are wanted (fetch)."""
