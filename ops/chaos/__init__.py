"""Break everything at random under load, then let an independent auditor look: `./appliance chaos`.

run.py        the order of things: installation, load, faults, calm, audit, verdict
kinds.py      the table of faults, and the seeded plan
storm.py      carries a plan out, and counts what was seen to happen
ground.py     the installation that is broken, with lines and disks of its own
processes.py  SIGKILL, SIGSTOP and other ends for processes of ours
cable.py      a line that can be cut, dead or stalled
disk.py       a directory that can be full
clock.py      a time of day that can be stepped (clock.c)
load.py       tenants that send signals as real ones do, and note every answer
switch.py     a person who throws the kill switch now and then
settle.py     when there is nothing left to do
"""
