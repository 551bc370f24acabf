"""Measures the appliance against what it should be measured by; never asserts a time.

`make bench` runs every benchmark in one go on the machine at hand and writes `results.json`: a list
of name, figure, unit, against, ratio. Machines differ and are shared, so the ratios count.
"""
