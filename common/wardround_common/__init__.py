"""What coordinator, site and simulation agree on: the plan, the messages, the cryptography, the numbers.

Not here: anything that opens an image or runs a model (``wardround_client``), anything that drives a
study (``wardround_server``), anything that knows Flower.

Privacy: nothing in this package holds a patient's data.
"""

__version__ = "0.1.0"
