"""The supervisor process: parent of the embedded servers. Standard library only, and no import from convostore.

It runs as `python -I -S` on this folder alone (see `launch.py` next to it), because importing convostore would cost
more than starting the servers. So modules in here import only each other, relatively; clients import `protocol`.
"""
