"""The headline study: three ratios over a stated family, set against those the MOCAP paper publishes.

`family` states the instances, `answers` does one run, `study` does all that are missing, `frame` holds
the rows and `ratios` what they come to.
"""
