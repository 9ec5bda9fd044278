import json

import pytest

from wardround_common.logs import close_log, event, log_to


def test_a_log_line_is_one_json_object(tmp_path):
    handler = log_to(tmp_path / "log.jsonl")
    event("round.accepted", round=3, site="alder")
    close_log(handler)
    (line,) = (tmp_path / "log.jsonl").read_text().splitlines()
    logged = json.loads(line)
    assert logged.pop("time")
    assert logged == {"level": "info", "event": "round.accepted", "round": 3, "site": "alder"}


def test_a_field_that_is_not_on_the_allow_list_is_refused():
    with pytest.raises(ValueError, match="patient"):
        event("ingest.read", patient="x")
