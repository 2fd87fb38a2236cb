"""Month after month, who your customers are becoming, as probabilities."""

__version__ = "0.2.0"
