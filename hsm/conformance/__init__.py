"""Does a token keep the promises that the design rests on? Each fact is a check with its reason.

`portcullis hsm conformance --module PATH --profile NAME` runs them by direct C calls; the profile
says what is expected, and a difference in either direction ends it with status 1. A token of a
vendor's is named by `--token LABEL --pin-file FILE`: what is made there is removed again, and no
wrong PIN is ever tried at it.

- `check.py`: what a check is, and the list of all;
- `bench.py`: the token as a check has it: sessions, keys that go away, known values;
- `starting.py`, `wrapping.py`, `signing.py`, `guards.py`: the checks;
- `store.py`: a token of its own, where the library is software;
- `run.py`: run them, compare with the profile, report.
"""
