"""Every setting of a run, each declared once: type, default, range and meaning."""

from snn.settings import extensions

extensions.load()  # the names they add are choices of the settings that are declared here
