"""The words of a selection, one kind a file; `auditcli.selection` puts them together."""
