"""A sweep's pages: index.html, contact.png and results.csv."""
