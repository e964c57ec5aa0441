"""Models to test with: `make_…` gives a small valid one, `full_…` one with every field filled distinctively."""

from convostore.testing.factories.audit import *  # noqa: F403
from convostore.testing.factories.config import *  # noqa: F403
from convostore.testing.factories.memory import *  # noqa: F403
from convostore.testing.factories.migration import *  # noqa: F403
from convostore.testing.factories.profile import *  # noqa: F403
from convostore.testing.factories.session import *  # noqa: F403
from convostore.testing.factories.values import *  # noqa: F403
