"""With CI=true a test may be skipped for want of an accelerator or of ``../shared``, and for nothing else."""

import os

PERMITTED = ("gpu", "../shared is absent")
_unexpected: list[str] = []


def pytest_runtest_logreport(report):
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(permitted in reason for permitted in PERMITTED):
            _unexpected.append(f"{report.nodeid}: {reason}")


def pytest_terminal_summary(terminalreporter):
    if os.environ.get("CI") == "true" and _unexpected:
        terminalreporter.section("skipped for a reason that CI does not permit")
        for line in _unexpected:
            terminalreporter.line(line)


def pytest_sessionfinish(session, exitstatus):
    if os.environ.get("CI") == "true" and _unexpected and exitstatus == 0:
        session.exitstatus = 1
