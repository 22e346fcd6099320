"""What several tests share and pytest's fixtures build on."""

from pkgutil import iter_modules

import pytest

# So that what is asserted here tells what it saw, as in tests.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in iter_modules(__path__)))
