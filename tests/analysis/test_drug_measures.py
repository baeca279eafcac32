"""What a run with drug in its blood leaves in series, ledger, summary and frames: one and the same account."""

from __future__ import annotations

import numpy as np
import pytest

import tme_sim
from tme_sim.analysis.drug_measures import drug_measures
from tme_sim.state.errors import InputError

WORDS = {
    "processes": "[circulation,perfusion,gaps,transcytosis,transport,binding,uptake,release,drug]",
    "number": "continuum",
    "lattice.size": "120 um",
    "protocol.duration": "2 h",
    "protocol.dose": "1e13 particles",
    "record.interval": "30 min",
    "nanoparticle.uptake.macrophages.degradation": "1 1/h",
    "processes.perfusion.closed_fraction": "0.3",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tme_sim.Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tme_sim.runner.report_on", lambda folder, say: None)
        return tme_sim.run(overrides=WORDS, out=tmp_path_factory.mktemp("drug") / "run", threads=1)


def of_drug(table):
    return table[(table["substance"] == "docetaxel") & (table["time_s"] == 7200)]


def test_the_ledger_of_the_drug_adds_up_to_all_that_was_injected(run: tme_sim.Run) -> None:
    """What is still in carriers counts; 1e13 particles of 0.0187 amol each."""
    terms = of_drug(run.ledger).set_index("term")["amount"]
    assert terms["injected"] == pytest.approx(1e13 * 1.05e-12 * np.pi / 6 * 0.065**3 * 0.1 / 807.9 * 1e18, rel=1e-9)
    assert terms.drop("injected").sum() == pytest.approx(terms["injected"], rel=1e-10)
    places = {"encapsulated", "interstitium", "bound", "cells", "plasma", "peripheral", "eliminated"}
    assert set(terms.index) == {"injected", *places}
    assert (terms > 0).all()


def test_the_series_of_one_instance_times_its_copies_is_the_ledger(run: tme_sim.Run) -> None:
    series, terms = of_drug(run.series), of_drug(run.ledger).set_index("term")["amount"]
    copies = series["patch"].map({"body": 1, "tumor": run.info["patches"][0]["copies"]})
    whole = (series["value"] * copies).groupby(series["compartment"]).sum()
    assert set(series["unit"]) == {"amol"}
    for compartment, amount in whole.items():
        assert amount == pytest.approx(terms[compartment], rel=1e-12)


def test_the_summary_says_the_same(run: tme_sim.Run) -> None:
    terms = of_drug(run.ledger).set_index("term")["amount"]
    tumor = terms[["interstitium", "bound", "cells"]].sum()
    assert run.summary["drug_tumor_percent_injected"] == pytest.approx(100 * tumor / terms["injected"], rel=1e-9)
    assert run.summary["drug_encapsulated_percent_injected"] == pytest.approx(100 * terms["encapsulated"] / terms["injected"])
    held = run.ledger[(run.ledger["substance"] == "docetaxel") & run.ledger["term"].isin(["interstitium", "bound", "cells"])]
    held = held.groupby("time_s")["amount"].sum()
    area = np.sum(np.diff(held.index) * (held.to_numpy()[1:] + held.to_numpy()[:-1]) / 2)
    volume = run.info["patches"][0]["copies"] * float((run.fields["inside"] > 0).sum()) * 15.0**3
    assert run.summary["drug_tumor_auc_uM_h"] == pytest.approx(area / volume * 1e3 / 3600, rel=1e-9)
    assert run.summary["plasma_half_life_h"] > 1  # the carriers', not the drug's


def test_every_frame_says_how_blood_flows_and_what_it_carries(run: tme_sim.Run) -> None:
    vessels, last, first = run.vessels, run.flow(), run.flow(0)
    assert last is not None
    assert first is not None
    assert len(last) == len(first) == len(vessels)
    np.testing.assert_allclose(last["flow_um3_per_s"], last["velocity_um_per_s"] * np.pi * vessels["radius_um"] ** 2)
    assert (last["hematocrit"] == 0.45).all()
    assert (last["flow_um3_per_s"][last["open"] == 0] == 0).all()
    assert (last["open"] != first["open"]).any()
    assert (first["drug_mM"] == 0).all()
    assert (run.flow(1800)["drug_mM"] > 0).mean() > 0.9
    with pytest.raises(InputError, match="was not recorded"):
        run.flow(1234)


def test_a_run_without_drug_or_flow_has_none_of_it(built) -> None:
    assert drug_measures(built().state, []) == {}
