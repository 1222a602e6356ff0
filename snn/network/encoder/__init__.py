"""A spiking encoder: code neurons that fire at random, and decoders that read them."""
