"""Report of a sweep: index.html, contact.png and results.csv."""
