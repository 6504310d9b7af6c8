"""The chart with each set of values that ships as an example."""

import pytest
from rendered_chart import EXAMPLES, Rendered, example, render


@pytest.fixture(scope="session", params=sorted(EXAMPLES))
def rendered(request: pytest.FixtureRequest) -> Rendered:
    return render(example(request.param))


@pytest.fixture(scope="session")
def fleet() -> Rendered:
    return render(example("fleet"))
