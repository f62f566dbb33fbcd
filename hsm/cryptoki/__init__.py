"""PKCS#11 as C has it: every function of a library's list, called by ctypes, with nothing in between.

The daemons use python-pkcs11, which is quick and checks what it is given. Looking for what a
*library* does is another task: conformance (hsm/conformance) and the attack suite must be able to
say what no binding lets them say, to any library, and see the very CK_RV that comes back.

- `numbers.py`: what return values, attributes and mechanisms are called;
- `library.py`: the function list, initialised as we choose;
- `session.py`: the calls, each with its C name.
"""
