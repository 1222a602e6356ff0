"""The engine: spiking neural networks, their training and their cost.

It needs only torch and numpy, and is independent of studies, trials and databases.
`snn.settings` imports neither, so that a study can be read without loading them.
"""
