"""What several tests share and pytest's fixtures build on."""

import pytest

# So that what is asserted here tells what it saw, as in tests.
pytest.register_assert_rewrite(__name__)
