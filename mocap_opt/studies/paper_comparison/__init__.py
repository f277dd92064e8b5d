"""The headline study: three ratios over a stated family, set against those the MOCAP paper publishes.

`family` states the instances and the runs over them, `answers` does one run, `frame` holds the rows and
`ratios` what they come to.
"""
