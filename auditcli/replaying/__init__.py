"""The parts of `auditcli.replay`: where it begins, what a transaction comes to in the target, and the target itself."""
