"""What an operator would check, checked: one file per subject, and for each a word about what to do.

Looking and judging are apart: `look` is the edge that asks the machine and returns what was seen,
`judge` is pure and turns that into findings. `examination.py` runs all of them beside each other,
each with a deadline; `ops/preflight.py` says what a start would trip over, and is one of them.
"""
