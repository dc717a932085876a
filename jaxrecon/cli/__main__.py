"""python -m jaxrecon.cli"""

from .app import main

main()
