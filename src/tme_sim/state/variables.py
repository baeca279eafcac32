"""Glossary of everything a state may hold: dotted name → (unit, meaning). Axes in parentheses; (z, y, x) are voxels."""

from __future__ import annotations

ROUTES = ("injected", "gap", "transcytosis", "phagocyte")
"""How a particle came into the tissue; every carrier amount has this axis."""

FORMS = ("loaded", "released")
"""Whether a carrier still holds its payload; every carrier amount has this axis."""

PHAGOCYTES = ("neutrophils", "monocytes")
"""Kinds of blood cells that carry particles into the tissue, where they are populations of these names."""

PHASES = ("cycling", "quiescent", "hypoxic", "necrotic", "apoptotic")
"""What a tumour cell is at; its column `phase` holds the number."""

DEAD = PHASES.index("necrotic")
"""From this phase on a cell is dead: it takes space until it is cleared, and consumes nothing."""

OCCUPANTS = ("macrophages", "tumor_cells")
"""Kinds of cells that fill their site, one on each; others pass between them."""

VARIABLES: dict[str, tuple[str, str]] = {
    "fields.nanoparticle": ("count", "free carriers in the interstitium (route, form, z, y, x)"),
    "fields.bound": ("count", "carriers bound to the extracellular matrix (route, form, z, y, x)"),
    "fields.lumen_fraction": ("1", "share of the voxel that is blood (z, y, x)"),
    "fields.cell_fraction": ("1", "share of the voxel that is cells (z, y, x)"),
    "fields.accessible_fraction": ("1", "share of the voxel that the carrier can reach, phi(a) (z, y, x)"),
    "fields.wall_surface_um2": ("um2", "vessel wall in the voxel (z, y, x)"),
    "fields.inside": ("1", "1 where the voxel belongs to the tumour (z, y, x)"),
    "fields.sinus": ("1", "1 where lymph flows through a node (z, y, x)"),
    "fields.oxygen_mmHg": ("mmHg", "partial pressure of oxygen (z, y, x)"),
    "fields.pH": ("1", "extracellular pH (z, y, x)"),
    "fields.interstitial_pressure_mmHg": ("mmHg", "interstitial fluid pressure (z, y, x)"),
    "fields.interstitial_velocity_um_per_s": (
        "um/s",
        "superficial fluid velocity through each voxel's +z, +y, +x face (3, z, y, x), at the far end out of the lattice",
    ),
    "fields.tumor_outflow_per_s": ("1/s", "fluid per tissue volume that leaves the tumour here, lymph included (z, y, x)"),
    "fields.tumor_inflow_per_s": ("1/s", "fluid per tissue volume that enters the tumour here, through a patch's face (z, y, x)"),
    "fields.drug_mM": ("mM", "free concentration of released drug in the extracellular space (z, y, x)"),
    "fields.drug_bound_amol": ("amol", "released drug bound outside cells (z, y, x)"),
    "fields.drug_in_cells_amol": ("amol", "released drug in cells (z, y, x)"),
    "fields.drug_source_amol": ("amol", "drug released outside cells since the drug's last step (z, y, x)"),
    "fields.drug_source_in_cells_amol": ("amol", "drug released in cells since the drug's last step (z, y, x)"),
    "fields.reporter": ("1", "molecules of the reporter released outside cells so far, where that was (z, y, x)"),
    "fields.reporter_in_cells": ("1", "molecules of the reporter released in cells so far, where that was (z, y, x)"),
    "fields.temperature_C": ("degC", "temperature of tissue and of the blood in it (z, y, x)"),
    "fields.thermal_dose_min": ("min", "equivalent minutes at 43 degC so far, CEM43 (z, y, x)"),
    "fields.thermal_dose_seen_min": ("min", "thermal dose that effect_heat has counted (z, y, x)"),
    "fields.decay_dose_Gy": ("Gy", "dose absorbed from the label's isotope so far (z, y, x)"),
    "fields.decay_dose_seen_Gy": ("Gy", "of that what effect_radiation has counted (z, y, x)"),
    "fields.dose_Gy": ("Gy", "dose absorbed from beams and the label's isotope so far (z, y, x)"),
    "fields.unrepaired_dose_Gy": ("Gy", "dose whose sublethal damage is not repaired yet (z, y, x)"),
    "fields.dead_fraction": ("1", "share of the tumour cells on the site that are dead; made for the record (z, y, x)"),
    "drug.released_amol": ("amol", "drug released so far, on one instance of each patch and in the body (patches + 1)"),
    "drug.per_particle_amol": ("amol", "drug that a loaded carrier holds; 0 where that is not known (1)"),
    "drug.waiting_amol": (
        "amol",
        "drug released since the drug's last step in plasma at large; in the body's organs and heated vessels (2)",
    ),
    "drug.body_amol": ("amol", "released drug in plasma's compartment and the peripheral ones (compartments)"),
    "drug.cleared_amol": ("amol", "released drug that has left the body (1)"),
    "drug.washed_out_amol": ("amol", "released drug given to plasma, less what came from it, on one instance (patches)"),
    "vessels.endothelium": ("count", "carriers in transit through endothelial cells (stage, form, walls)"),
    "vessels.activity": ("1", "transcytotic activity of the wall relative to its mean (walls)"),
    "vessels.permeability_factor": ("1", "permeability of the wall over that of one without macrophages near it (walls)"),
    "vessels.perfused": ("1", "share of the wall that moving blood passes (walls)"),
    "vessels.segment_open": ("1", "1 where the vessel is open, 0 where it is shut for a while (segments)"),
    "vessels.segment_flow_um3_per_s": ("um3/s", "blood flow from a segment's first node to its second (segments)"),
    "vessels.segment_velocity_um_per_s": ("um/s", "mean velocity over the cross-section, same direction (segments)"),
    "vessels.segment_hematocrit": ("1", "share of red cells in the blood that flows (segments)"),
    "vessels.segment_drug_mM": ("mM", "released drug, unbound in plasma, mean along the segment (segments)"),
    "vessels.segment_source_amol": ("amol", "drug released in the heated blood of each since the drug's last step (segments)"),
    "body.plasma": ("count", "carriers in blood plasma (form)"),
    "body.kupffer": ("count", "carriers in Kupffer cells (form)"),
    "vessels.crossings": ("1", "neutrophils and monocytes that have crossed the wall here (kind, walls)"),
    "body.depot": ("count", "particles at the site of an injection into tissue (form)"),
    "body.NAME": ("count", "carriers in a parallel sink of the body (form)"),
    "traits.label_on_PLACE": ("1", "label on what is there, in labels of one particle (1)"),
    "traits.NAME": (
        "1",
        "label, free in blood or where it went; or what a mean over the body needs to know of the last step (1)",
    ),
    "traits.doubling_time_s": ("s", "time in which the tumour doubles its mass (1)"),
    "traits.plasma_doses": ("1", "share of each dose in what is loaded in plasma (doses)"),
    "traits.injected_before_release": ("1", "particles injected before the last step of release (1)"),
    "traits.reporter_in_body": ("1", "molecules of the reporter released in plasma at large, heated vessels, organs (3)"),
    "traits.labels_in": ("1", "labels that came into the lattice with T cells (1)"),
    "traits.labels_out": ("1", "labels of T cells that have died (1)"),
    "traits.plasma_sizes": ("1", "share of what is in plasma by class of size, from small to large (classes)"),
    "populations.gaps.voxel": ("1", "flat index of the wall voxel that holds the gap"),
    "populations.gaps.radius_um": ("um", "pore radius"),
    "populations.gaps.transient": ("1", "1 where the gap opens and shuts, 0 where it is always open"),
    "populations.gaps.open": ("1", "1 while the gap is open"),
    "populations.gaps.opened": ("1", "how often the gap has opened"),
    "populations.gaps.entered": ("count", "carriers that came in through this gap"),
    "populations.arrested": ("1", "phagocytes on the vessel wall: voxel, kind, and load (agent, form)"),
    "populations.NAME": ("1", "the agents of a kind, who come and go: all their columns"),
    "populations.NAME.id": ("1", "number of the agent, never used again"),
    "populations.NAME.next_id": ("1", "id that the next agent gets"),
    "populations.kupffer_cells.voxel": ("1", "flat index of the sinusoid's voxel that the cell sits in"),
    "populations.kupffer_cells.passed": ("1", "share of its sinusoid that blood has passed there, from portal tract to vein"),
    "populations.kupffer_cells.taken": ("1", "particles that the cell has taken from blood; they are counted in body.kupffer"),
    "traits.liver_plasma_flow_um3_per_s": ("um3/s", "plasma that passes the whole liver (1)"),
    "populations.arrested.voxel": ("1", "flat index of the wall voxel that the cell sits on"),
    "populations.arrested.kind": ("1", "0 a neutrophil, 1 a monocyte"),
    "populations.arrested.load": ("count", "carriers in a cell on the wall, not in the tissue yet (agent, form)"),
    "populations.NAME.phase": ("1", "what the cell is at: 0 cycling, 1 quiescent, 2 hypoxic, 3 necrotic, 4 apoptotic"),
    "populations.NAME.anoxic_s": ("s", "how long the cell has had too little oxygen to live"),
    "populations.NAME.polarisation": ("1", "of a macrophage, from -1 M1-like to 1 M2-like; 0 for who is new"),
    "populations.NAME.divisions": ("1", "how often a T cell has divided in the tissue"),
    "populations.NAME.label": ("1", "labels that a T cell holds"),
    "populations.NAME.damage": ("1", "hazard that the cell has lived through, -ln of the chance to survive it"),
    "populations.NAME.drug_exposure_mM_s": ("mM s", "integral of the free drug with which the cell was in balance"),
    "populations.NAME.site": ("1", "flat index of the site that the agent occupies"),
    "populations.NAME.cargo": ("count", "carriers in endosomes (agent, route, form)"),
    "populations.NAME.lysosome": ("count", "carriers in lysosomes (agent, route, form)"),
}
