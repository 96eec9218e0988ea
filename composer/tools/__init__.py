"""Tools: steps of recipes that make images, masks or texts of images, without a diffusion model."""
