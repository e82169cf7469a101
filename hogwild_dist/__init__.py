"""Several instances of one language model think together over a shared key-value cache.

The method is Hogwild! Inference (Rodionov et al., arXiv 2504.06261).

What can be imported from here is listed in `__init__.pyi`, and loaded when it is first used: torch
and transformers take seconds, which nobody waits for who only wants to be helped.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
