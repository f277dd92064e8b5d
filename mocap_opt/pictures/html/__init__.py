"""A report as one HTML file that opens offline; drawn by bokeh (the extra ``report``)."""

from mocap_opt.pictures.html.page import html_report

__all__ = ["html_report"]
