"""The comparison with the paper: three ratios over a stated family beside those that MOCAP publishes.

`family` states the instances and the runs over them, `answers` does one run, `frame` holds the rows and
`ratios` what they come to.
"""
