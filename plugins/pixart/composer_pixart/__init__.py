"""PixArt-α for composer: a model family (`info`, `model`), and a task (`seed_walk`)."""
