"""`python -m convostore`: the command line."""

from convostore.cli import main

main()
