from __future__ import annotations

from collections import Counter

from pydicom import dcmread
from pydicom.dataset import Dataset

from wardround_simulations.phantoms import DEFAULT, planted_identifiers, write_phantoms


def places(dataset: Dataset, token: str, level: int = 0) -> set[tuple[bool, int]]:
    """(private, depth) of every attribute that holds the token."""
    found = set()
    for element in dataset:
        if element.VR == "SQ":
            below = {place for item in element.value for place in places(item, token, level + 1)}
            found |= {(private or element.tag.is_private, depth) for private, depth in below}
        elif token in (str(element.value, "ascii") if element.VR == "UN" else str(element.value)):
            found.add((element.tag.is_private, level))
    return found


def test_there_are_exactly_twenty_different_identifiers_and_none_holds_another():
    tokens = planted_identifiers()
    assert len(tokens) == len(set(tokens)) == 20
    assert not any(a != b and a in b for a in tokens for b in tokens)
    assert all(token.isalnum() and token.isascii() and len(token) >= 8 for token in tokens)
    assert sum(token.isdigit() and len(token) == 8 for token in tokens) == 3


def test_each_identifier_stands_in_the_files_of_exactly_one_patient_and_nowhere_else(phantoms):
    holders: dict[str, set[str]] = {token: set() for token in planted_identifiers()}
    for path in phantoms.good():
        data = phantoms.plain(path)
        for token in holders:
            if token.encode() in data:
                holders[token].add(f"{path.parent.name}/{path.name[:5]}")
    assert all(len(patients) == 1 for patients in holders.values())
    spread = Counter(patient.split("/")[0] for patients in holders.values() for patient in patients)
    assert sorted(spread.values()) == [6, 7, 7]
    assert len(set.union(*holders.values())) >= 15


def test_even_a_set_of_one_patient_holds_all_twenty(tmp_path):
    write_phantoms(tmp_path, seed=0, hospitals=DEFAULT[:1], scale=0.001, broken=False)
    files = [path.read_bytes() for path in tmp_path.glob("alder/*.dcm")]
    assert all(data.count(token.encode()) == 1 for data in files for token in planted_identifiers())


def test_each_identifier_stands_in_all_files_of_its_patient_once(phantoms):
    for token in planted_identifiers():
        with_token = [path for path in phantoms.good() if token.encode() in phantoms.plain(path)]
        folder, number = with_token[0].parent.name, with_token[0].name[:5]
        assert with_token == [path for path in phantoms.good(folder) if path.name[:5] == number]
        assert all(phantoms.plain(path).count(token.encode()) == 1 for path in with_token)


def test_identifiers_hide_at_the_top_in_sequences_and_in_private_tags(phantoms):
    files = [dcmread(path) for path in phantoms.good()]
    found = [set.union(*(places(dataset, token) for dataset in files)) for token in planted_identifiers()]
    kinds = Counter(place for [place] in found)
    assert kinds == {(False, 0): 12, (False, 1): 3, (False, 2): 1, (True, 0): 3, (True, 1): 1}


def test_no_two_patients_of_a_hospital_share_a_name_or_a_number(phantoms):
    for summary in phantoms.summary.hospitals:
        heads = [dcmread(path, stop_before_pixels=True) for path in phantoms.good(summary.name)]
        assert len({str(head.PatientName) for head in heads}) == summary.patients
        assert len({head.PatientID for head in heads}) == summary.patients
