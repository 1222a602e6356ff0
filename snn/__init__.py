"""The engine: spiking networks, how they are trained, what they cost.

Needs torch and numpy alone and knows nothing of studies, trials or databases.
`snn.settings` imports neither, so that a study can be read without loading them.
"""
