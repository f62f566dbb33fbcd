"""The main job, shown: one signed webhook becomes orders at many accounts, and survives a kill."""
