"""The interactive screens; they know frames only through a session's snapshots."""
