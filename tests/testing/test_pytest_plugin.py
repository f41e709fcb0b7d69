"""The opt-in plugin, tried from outside on small test suites of its own."""

import pytest

pytest_plugins = ["pytester"]

INI = """
[pytest]
asyncio_default_fixture_loop_scope = function
asyncio_default_test_loop_scope = function
filterwarnings = error
"""
CONFTEST = 'pytest_plugins = ["chatloom_async.testing.pytest_plugin"]'


def run(pytester: pytest.Pytester, tests: str) -> pytest.RunResult:
    pytester.makeini(INI)
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(tests)
    return pytester.runpytest_inprocess("-p", "no:cacheprovider")


def test_the_sandbox_fixture_serves_three_agents(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import json
        from urllib.request import Request, urlopen

        from chatloom_async.testing.pytest_plugin import SANDBOX_KEY

        def test_it(chatloom_sandbox):
            url = chatloom_sandbox.base_url + "/api/plugin/agents"
            with urlopen(Request(url, headers={"X-API-Key": SANDBOX_KEY})) as answer:
                agents = json.load(answer)["agents"]
            assert [agent["id"] for agent in agents] == [
                "agt_sandbox_3", "agt_sandbox_2", "agt_sandbox_1"
            ]

        def test_fresh(chatloom_sandbox):
            assert chatloom_sandbox.count() == 0
        """,
    )
    result.assert_outcomes(passed=2)


def test_the_clock_fixture_lets_time_pass_without_waiting(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        def test_it(chatloom_clock):
            chatloom_clock.run(chatloom_clock.sleep(3600))
            assert chatloom_clock.monotonic() == 3600
        """,
    )
    result.assert_outcomes(passed=1)


def test_nothing_is_offered_without_opting_in(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI)
    pytester.makepyfile("def test_it(chatloom_sandbox): pass")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'chatloom_sandbox' not found*"])
