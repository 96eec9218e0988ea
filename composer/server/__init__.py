"""`compose serve`: an HTTP service with a queue that survives its own end, OpenAI's images API, and a page."""
