"""Numbers about finished images, by which results are ranked: the group of options `metric`."""
