"""`compose rerun` and `compose info`: a picture's own record, read and drawn again."""

from composer.callable_module import make_callable

make_callable(__name__)
