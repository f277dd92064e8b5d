"""Sphinx's configuration; `build.py` gathers the sources and calls it."""

from mocap_opt import __version__

project = "mocap-opt"
author = "the mocap-opt developers"
copyright = "2026, the mocap-opt developers"
release = version = __version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]
nitpicky = False

# Notebooks are stored without output; `build.py` executes them, or leaves them as they are.
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 4

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
# Nothing is fetched while pages are built: references outside are plain names.
intersphinx_mapping: dict[str, tuple[str, None]] = {}

# Pages without others beside them need no list of those.
html_sidebars: dict[str, list[str]] = {"guides/benchmarks": [], "guides/evidence": []}
html_theme = "pydata_sphinx_theme"
html_title = "mocap-opt"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "show_toc_level": 2,
    "navigation_with_keys": False,
    # Cells of notebooks are wide; elsewhere the page's sections stand beside it.
    "secondary_sidebar_items": {
        "gallery/*": [],
        **{pages: ["page-toc"] for pages in ("index", "guides/*", "mathematics/*", "reference/*")},
    },
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
}
