"""sfumato: diffusion generative models as one small algebra."""

import lazy_loader

__version__ = "0.1.0"

# The public names stand in __init__.pyi, once; each is imported when first used, so that the
# command line answers --help before torch is loaded.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
