"""Several instances of one language model work together over a shared key-value cache.

The method is Hogwild! Inference (Rodionov et al., arXiv 2504.06261).

`__init__.pyi` lists the public names. Each is loaded on first use, because torch and transformers
take seconds to import and commands such as `hogwild --help` do not need them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
