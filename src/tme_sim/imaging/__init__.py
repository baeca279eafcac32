"""What is seen: one instrument per file; a recorded frame of a run → the images that the instrument would give.

frame.py     what there was at one recorded time, read from a run's folder
base.py      the Image that an instrument gives, what every Readout is, and where noise comes from
"""
