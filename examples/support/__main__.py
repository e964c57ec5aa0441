"""`python -m examples.support`: the service on embedded engines, or on those of `CONVOSTORE_…`."""

import uvicorn

from examples.support.service import create_app

uvicorn.run(create_app(), host="127.0.0.1", port=8000)
