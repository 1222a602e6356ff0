"""What a user would do instead: Optuna and a spiking library, in a script of his own."""
