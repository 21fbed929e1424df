"""Install the `visualsearch` command in a checkout. A wheel has no command, since it carries the library alone."""

import sys

from setuptools import setup

IN_A_CHECKOUT = "editable_wheel" in sys.argv

setup(entry_points={"console_scripts": ["visualsearch = cli.main:main"]} if IN_A_CHECKOUT else {})
