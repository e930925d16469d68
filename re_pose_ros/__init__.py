"""See small objects in time: non-uniform blocks of a large frame, detected on several workers."""

__version__ = "0.1.0"
