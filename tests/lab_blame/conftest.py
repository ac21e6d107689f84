"""The same fixtures as in tests/lab.

    python3 -m vmlat_tui lab run --cpus 3 --scenario two-vms -- python3 -m pytest tests/lab_blame

The third processor is for everything that is not measured.
"""

from tests.lab.conftest import guest as guest
from tests.lab.conftest import lab as lab
from tests.lab.conftest import pytest_collection as pytest_collection
from tests.lab.conftest import pytest_configure as pytest_configure
from tests.lab.conftest import pytest_runtest_logreport as pytest_runtest_logreport
