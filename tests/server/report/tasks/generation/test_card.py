"""The model card of a generator: marked images, no diagnosis, what the guarantee covers."""

from msgspec.structs import replace

from wardround_server.report import Privacy, write_model_card


def test_card_says_what_must_be_said(generated, generated_deployed, tmp_path):
    for report in (generated, generated_deployed):
        card = write_model_card(report, tmp_path).read_text()
        assert "**Not for diagnosis.**" in card
        assert "**Synthetic images must be marked as such**" in card
        assert "None of them was taken of a patient" in card
        assert "Output: a synthetic image, one channel, 64 x 64 pixels at 4 mm" in card


def test_card_head_is_what_model_hubs_read(generated, tmp_path):
    head = write_model_card(generated, tmp_path).read_text().split("---\n", 2)[1].splitlines()
    assert 'pipeline_tag: "unconditional-image-generation"' in head
    assert '  - "synthetic-images"' in head
    assert "            value: 0.861" in head


def test_card_of_a_deployment_has_no_figures(generated_deployed, tmp_path):
    card = write_model_card(generated_deployed, tmp_path).read_text()
    assert "roc_auc" not in card
    assert "Not evaluated." in card


def test_card_says_what_the_guarantee_covers(generated, tmp_path):
    card = write_model_card(generated, tmp_path).read_text()
    privacy = card.partition("## Privacy")[2].partition("## Limits")[0]
    assert "they cost no patient anything more" in privacy
    assert "It does not hide what many patients have in common" in privacy
    for promise in generated.plan.task.promises(generated.plan):
        assert promise[1:].rstrip(".") in privacy


def test_card_without_a_recorded_cost_promises_nothing(generated, tmp_path):
    card = write_model_card(replace(generated, privacy=Privacy()), tmp_path).read_text()
    assert "treat this model as not private" in card
    assert "cost no patient" not in card


def test_card_holds_every_figure_with_its_patients(generated, tmp_path):
    rows = [line for line in write_model_card(generated, tmp_path).read_text().splitlines() if "| 0." in line]
    assert len(rows) == 8
    assert "0.708 (0.619 to 0.783) | 150 real test patients, 61 of them positive |" in rows[2]
    assert "public test set | 0.802" in rows[4]
