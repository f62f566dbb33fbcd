"""Kill everything at random under load, then let an independent auditor look: `./appliance chaos`.

run.py     the order of things: installation, load, kills, calm, audit, verdict
load.py    tenants that send signals as real ones do, and note every answer
killer.py  SIGKILL for processes of ours, at seeded random moments
moods.py   the exchange's bad moods, on and off
settle.py  when there is nothing left to do
"""
