"""What runs make: images, clips and sounds, their files, and the texts in these files."""
