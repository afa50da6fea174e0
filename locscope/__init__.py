"""locscope: where should a language model be fine-tuned, so that these facts change and no others?

The package is used through ``locscope`` on the command line, and through ``locscope.notebook``.
"""

__version__ = "0.1.0"
