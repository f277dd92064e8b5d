"""Pictures: plots with matplotlib, the HTML report, and the view of a run that they share."""
