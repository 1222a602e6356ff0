"""Driving a study: the driver, the local loop, Ray Tune, leases, progress, confirmation."""
