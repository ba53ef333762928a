"""How a plan gets into the database, whole or not at all; `auditcli.apply` opens and ends the transaction."""
