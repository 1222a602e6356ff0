"""The engine: spiking networks, how they are trained, what they cost.

Needs torch and numpy alone and knows nothing of studies, trials or databases.
`snn.config`, `snn.backbones`, `snn.datasets`, `snn.extensions`, `snn.partition` and
`snn.measurement` import neither, so that a study can be read without loading them.
"""
