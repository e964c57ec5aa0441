"""The supervisor process: parent of the embedded servers. Standard library only, and no import from convostore.

`launch.py` runs this folder alone as `python -I -S`, because importing convostore takes longer than starting the
servers. So these modules import only each other, relatively. Clients import `protocol`.
"""
